"""`metabin evaluate`: score runs on data sets they have not seen."""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from metabin_jax.cli import (
  arguments,
  data_options,
  eval_options,
  outputs,
  targets,
)
from metabin_jax.data import protocols
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin evaluate --help`."""
  parser = arguments.Parser(
    "evaluate",
    "Scores one or several runs, side by side.",
  )
  parser.add_argument("runs", nargs="+", metavar="RUN", help="workdir of a run")
  targets.add_argument(parser)
  parser.add_argument(
    "--add-target",
    action="append",
    default=[],
    metavar="SPEC",
    help="a further data set beside the runs' own targets",
  )
  parser.add_argument(
    "--protocol",
    metavar="NAME",
    help="the targets of a published experiment, below $METABIN_DATA, and what "
    "it says about the evaluation; `metabin datasets` lists the names",
  )
  data_options.add_arguments(parser)
  parser.add_argument("--step", type=int, help="checkpoint; default: newest")
  eval_options.add_arguments(parser)
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
  from metabin_jax.cli import provenance
  from metabin_jax.data import readers
  from metabin_jax.evaluation import settings
  from metabin_jax.evaluation.table import Row, format_table
  from metabin_jax.runtime import compilation_cache, scoring

  compilation_cache.enable()
  open_dataset = functools.cache(readers.open_dataset)
  noted: set[str] = set()

  def note(line: str) -> None:
    if line not in noted:  # runs often share their data
      noted.add(line)
      print(line, file=sys.stderr)

  chosen, changes = list(args.target), eval_options.changes(args)
  if args.protocol:
    if args.target:
      raise UserError("--protocol and --target both name targets; use one.")
    chosen = [*protocols.specs(args.protocol, protocols.data_root())[1]]
    changes = {**protocols.get_protocol(args.protocol).evaluation, **changes}

  by_run = []
  ranks: dict[int, None] = {}
  used: dict[str, DataSet] = {}
  done: dict[str, str] = {}
  trained: dict[str, list[dict[str, Any]]] = {}
  steps: dict[str, int] = {}
  warned: dict[str, list[str]] = {}
  adapted: dict[str, scoring.AdaptedFolds] = {}
  for name, folder in zip(names, folders, strict=True):
    loaded = scoring.load_run(folder, args.step, warn=note)
    config = scoring.override_eval(loaded.config, changes)
    wanted = [*(chosen or config.data.targets), *args.add_target]
    specs = targets.choose(folder, wanted, args)
    opened, warnings = targets.open_targets(
      loaded, config, specs, open_dataset, note
    )
    for target in opened:
      provenance.reject_other_data(used.setdefault(target.name, target), target)
    folds: scoring.AdaptedFolds = {}
    scores = scoring.score(
      config, loaded.network, loaded.variables, opened, adapted=folds
    )
    by_run.append({t: Row(t, name, summary) for t, summary in scores.items()})
    if folds:
      adapted[name] = folds
    done[name] = settings.describe(settings.from_config(config.eval))
    if args.protocol:
      done[name] = f"protocol {args.protocol}, {done[name]}"
      warnings += _other_sources(args.protocol, loaded.sources)
    for warning in warnings:
      warned.setdefault(warning, []).append(name)
    trained[name], steps[name] = loaded.sources, loaded.step
    ranks |= dict.fromkeys(config.eval.ranks)
    print(f"{folder}: checkpoint of step {loaded.step}", file=sys.stderr)
  order = list(dict.fromkeys(target for rows in by_run for target in rows))
  rows = [rows[t] for t in order for rows in by_run if t in rows]
  print(format_table(rows, sorted(ranks)), flush=True)
  context = provenance.Context(
    [*used.values()],
    done,
    trained,
    steps,
    [f"{', '.join(of)}: {warning}" for warning, of in warned.items()],
    adapted,
  )
  print(*provenance.lines(context), sep="\n", flush=True)
  if args.json:
    outputs.save_scores(rows, [args.json], provenance.to_json(context))
  return 0


def _names(folders: Sequence[pathlib.Path]) -> list[str]:
  """What the table calls each run: its folder's name, or more if need be."""
  places = [folder.resolve() for folder in folders]
  for index, place in enumerate(places):
    if place in places[:index]:
      raise UserError(f"{folders[index]} is given twice; name each run once.")
  names = [place.name for place in places]
  return names if len(set(names)) == len(names) else [str(p) for p in places]


def _other_sources(
  protocol: str, sources: Sequence[Mapping[str, Any]]
) -> list[str]:
  """A sentence if a run was not trained on the data sets of a protocol."""
  wanted = protocols.get_protocol(protocol).sources
  # Data that are no public set, or of before sources were described.
  trained = [source["public"] or source["name"] for source in sources]
  if sorted(trained) == sorted(wanted):
    return []
  return [
    f"protocol {protocol} trains on {', '.join(wanted)}, but this run was "
    f"trained on {', '.join(trained) or 'data that it does not name'}"
  ]
