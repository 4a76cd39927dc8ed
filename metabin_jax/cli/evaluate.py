"""`metabin evaluate`: score runs on data sets they have not seen."""

from __future__ import annotations

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from metabin_jax.cli import outputs
from metabin_jax.errors import UserError


class _Parser(argparse.ArgumentParser):
  """Errors become UserErrors, so that every command ends alike."""

  def error(self, message: str):
    raise UserError(f"{message}; see `metabin evaluate --help`.")


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin evaluate --help`."""
  parser = _Parser(
    prog="metabin evaluate",
    description="Scores one or several runs, side by side.",
    allow_abbrev=False,
  )
  parser.add_argument("runs", nargs="+", metavar="RUN", help="workdir of a run")
  parser.add_argument(
    "--target",
    action="append",
    default=[],
    metavar="SPEC",
    help="a data set with query and gallery, READER:PATH[?key=value]; may be "
    "given several times; without it the runs' own targets",
  )
  parser.add_argument(
    "--add-target",
    action="append",
    default=[],
    metavar="SPEC",
    help="a further data set beside the runs' own targets",
  )
  parser.add_argument("--step", type=int, help="checkpoint; default: newest")
  parser.add_argument(
    "--cross-camera",
    choices=("on", "off"),
    help="remove gallery images of the query's person and camera "
    "(default: as the run is configured)",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the scores"
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)

  outputs.check_file("--json", args.json)
  folders = [pathlib.Path(name) for name in args.runs]
  names = _names(folders)
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.cli import compilation_cache
  from metabin_jax.data import checks, readers
  from metabin_jax.evaluation.table import Row, format_table
  from metabin_jax.runtime import scoring

  compilation_cache.enable()
  open_dataset = functools.cache(readers.open_dataset)
  noted: set[str] = set()

  def note(line: str) -> None:
    if line not in noted:  # runs often share their data
      noted.add(line)
      print(line, file=sys.stderr)

  by_run = []
  for name, folder in zip(names, folders, strict=True):
    loaded = scoring.load_run(folder, args.step, warn=note)
    config = loaded.config
    cross = config.eval.cross_camera
    if args.cross_camera:
      cross = args.cross_camera == "on"
    specs = [*(args.target or config.data.targets), *args.add_target]
    if not specs:
      raise UserError(f"{folder} has no targets of its own; pass --target.")
    targets = [open_dataset(spec) for spec in specs]
    sources = _open_sources(config.data.sources, open_dataset, note)
    for fold in checks.check_targets(sources, targets, cross_camera=cross):
      for line in fold.notes:
        note(line)
    by_run.append(
      {
        target: Row(target, name, summary)
        for target, summary in scoring.score(
          config,
          loaded.network,
          loaded.variables,
          targets,
          cross_camera=cross,
        ).items()
      }
    )
    print(f"{folder}: checkpoint of step {loaded.step}", file=sys.stderr)
  order = list(dict.fromkeys(target for rows in by_run for target in rows))
  rows = [rows[t] for t in order for rows in by_run if t in rows]
  print(format_table(rows, loaded.config.eval.ranks), flush=True)
  if args.json:
    outputs.save_scores(rows, [args.json])
  return 0


def _names(folders: Sequence[pathlib.Path]) -> list[str]:
  """What the table calls each run: its folder's name, or more if need be."""
  places = [folder.resolve() for folder in folders]
  for index, place in enumerate(places):
    if place in places[:index]:
      raise UserError(f"{folders[index]} is given twice; name each run once.")
  names = [place.name for place in places]
  return names if len(set(names)) == len(names) else [str(p) for p in places]


def _open_sources(
  specs: Sequence[str],
  open_dataset: Callable[[str], Any],
  note: Callable[[str], None],
) -> list[Any]:
  """The training data that is still there, to see that no target is in it."""
  sources = []
  for spec in specs:
    try:
      sources.append(open_dataset(spec))
    except UserError as error:
      note(f"not checked for persons that were trained on: {error}")
  return sources
