"""`metabin evaluate`: score runs on data sets they have not seen."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

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
  parser.add_argument("--json", type=pathlib.Path, help="write the scores")
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)

  from metabin_jax.cli import compilation_cache, scores
  from metabin_jax.data import checks, readers
  from metabin_jax.evaluation.table import Row, format_table
  from metabin_jax.runtime import scoring

  compilation_cache.enable()
  folders = [pathlib.Path(name) for name in args.runs]
  names = [folder.resolve().name for folder in folders]
  if len(set(names)) < len(names):
    names = [str(folder) for folder in folders]
  by_run = []
  for name, folder in zip(names, folders, strict=True):
    loaded = scoring.load_run(folder, args.step)
    config = loaded.config
    cross = config.eval.cross_camera
    if args.cross_camera:
      cross = args.cross_camera == "on"
    specs = [*(args.target or config.data.targets), *args.add_target]
    if not specs:
      raise UserError(f"{folder} has no targets of its own; pass --target.")
    sources = [readers.open_dataset(spec) for spec in config.data.sources]
    targets = [readers.open_dataset(spec) for spec in specs]
    checks.check_targets(sources, targets, cross_camera=cross)
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
  if args.json:
    scores.save(rows, [args.json])
  print(format_table(rows, loaded.config.eval.ranks))
  return 0
