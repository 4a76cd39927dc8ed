"""`metabin repro`: the paper's tables and figures, each as one command."""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError

if TYPE_CHECKING:  # needs JAX, which mistakes in flags do not
  from metabin_jax.repro.jobs import Catalogue, Choice
  from metabin_jax.repro.runner import Task
  from metabin_jax.repro.types import Study

ALL = "all"
SPECIFICATION = "specification"
# The study whose other half is the specification.
_SPECIFIED = "table-s1"


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin repro --help`."""
  parser = _make_parser()
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_folder("--out", args.out)
  outputs.check_file("--json", args.json)
  if args.part is not None and args.json is not None:
    raise UserError(
      "--part makes no table, so there is nothing for --json; call the command "
      "once more with --collect and --json, without --part."
    )
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.repro import catalogue as catalogue_lib
  from metabin_jax.repro import jobs, own_arms, preparation, runner

  catalogue = catalogue_lib.CATALOGUE
  if args.study is None:
    if not args.list:
      raise UserError(
        "name a study, or `all`; `metabin repro --list` says which there are."
      )
    print(_list_studies(catalogue))
    return 0
  if args.study == SPECIFICATION:
    _specify(args.out / args.scale, args.scale)
    return 0
  studies = _choose(args.study, catalogue)
  own = [own_arms.load(path, args.scale, catalogue) for path in args.add_arm]
  studies, catalogue = own_arms.add(own, studies, catalogue)
  kept = tuple(args.arms.split(",")) if args.arms else None
  choice = jobs.Choice(
    args.scale,
    jobs.parse_seeds(args.seeds),
    None if kept is None else (*kept, *(arm.name for arm in own)),
    preparation.parse_settings(args.set),
  )
  say_of_data = {
    "allow_partial": args.allow_partial,
    "licensed_copy": args.licensed_copy,
  }
  tasks = preparation.make_tasks(
    jobs.list_jobs(studies, choice, catalogue),
    catalogue,
    lambda specs: data_options.apply(specs, **say_of_data),
  )
  mine = tasks if args.part is None else runner.share(tasks, args.part)
  if args.list:
    for job, _ in mine:
      print(preparation.describe_state(args.out, job))
    return 0
  status = 0
  if not args.collect:
    more = data_options.apply(args.add_target, **say_of_data)
    preparation.open_data(mine, more, args.scale)
    outcome = runner.run(
      mine, args.out, say=_say, more_targets=more, processes=args.jobs
    )
    status = outcome.status
    if outcome.stopped_by is not None or args.part is not None:
      return status
  _write_tables(args, studies, choice, catalogue, tasks)
  folder = args.out / args.scale
  asked = not args.collect and _SPECIFIED in [study.name for study in studies]
  if asked and not (folder / f"{SPECIFICATION}.json").exists():
    _specify(folder, args.scale)
  return status


def _write_tables(
  args: argparse.Namespace,
  studies: Sequence[Study],
  choice: Choice,
  catalogue: Catalogue,
  tasks: Sequence[Task],
) -> None:
  """Prints the tables of each study and writes them below the output folder."""
  from metabin_jax.evaluation.table import save_json
  from metabin_jax.repro import collect, jobs, render

  configs = {job.name: config for job, config in tasks}
  folder = args.out / args.scale
  tables = []
  for study in studies:
    cells = jobs.list_cells(study, choice, catalogue)
    data = collect.collect(study, choice, cells, configs, args.out)
    name = study.name + _suffix(choice.overrides)
    render.save(data, folder, name)
    print(render.to_markdown(data), flush=True)
    _say(f"written: {folder / name}.md and .json")
    tables.append(data)
  if args.json is not None:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, tables[0] if args.study != ALL else tables)


def _suffix(overrides: Mapping[str, Any]) -> str:
  """Keeps tables of changed runs from replacing the study's own."""
  if not overrides:
    return ""
  text = json.dumps(dict(overrides), sort_keys=True)
  return f"-set-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _specify(folder: pathlib.Path, scale: str) -> None:
  """Table S1's counts, memory and times; at the quick scale a short look."""
  from metabin_jax.evaluation.table import save_json
  from metabin_jax.repro import render, specification

  short = {"batch": 8, "repeats": 3} if scale == "quick" else {}
  rows = specification.measure([*specification.BACKBONES], **short)
  text = specification.to_markdown(rows)
  render.save_text(folder / f"{SPECIFICATION}.md", text)
  save_json(folder / f"{SPECIFICATION}.json", rows)
  print(text, flush=True)


def _make_parser() -> arguments.Parser:
  parser = arguments.Parser(
    "repro",
    "Trains and scores what a table or figure of the paper compares. A stopped "
    "call is continued by the same call; finished runs are used again.",
  )
  parser.add_argument(
    "study",
    nargs="?",
    metavar="STUDY",
    help="a study of `metabin repro --list`, or `all`",
  )
  parser.add_argument(
    "--list",
    action="store_true",
    help="list the studies, or the runs of a study, and do nothing",
  )
  parser.add_argument(
    "--scale",
    choices=("quick", "full"),
    default="quick",
    help="quick (default): rendered people, minutes a run on a CPU; full: the "
    "published data sets below $METABIN_DATA",
  )
  parser.add_argument(
    "--seeds",
    default="1",
    metavar="N|LIST",
    help="number of seeds, from 2020 on, or the seeds: 2020,2021 (default: 1)",
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    default=pathlib.Path("runs/repro"),
    metavar="DIR",
    help="runs and tables (default: runs/repro)",
  )
  parser.add_argument(
    "--part",
    type=_part,
    metavar="I/N",
    help="only every N-th run from the I-th on, 0 <= I < N, and no tables: for "
    "several machines that share DIR; --collect then makes the tables",
  )
  parser.add_argument(
    "--jobs", type=_count, default=1, metavar="N", help="runs at a time"
  )
  parser.add_argument(
    "--collect", action="store_true", help="make tables of what is finished"
  )
  parser.add_argument(
    "--arms", metavar="A,B", help="keep only rows of these arms"
  )
  parser.add_argument(
    "--add-arm",
    action="append",
    default=[],
    type=pathlib.Path,
    metavar="FILE",
    help="a row of your own: a Python file with get_config(scale)",
  )
  parser.add_argument(
    "--add-target",
    action="append",
    default=[],
    metavar="SPEC",
    help="score all runs on a further data set too, not part of the average",
  )
  parser.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="change a configuration key in every run",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="also write the tables"
  )
  data_options.add_arguments(parser)
  return parser


def _list_studies(catalogue: Catalogue) -> str:
  lines = [f"{s.name:<14} {s.title}" for s in catalogue.studies.values()]
  lines.append(f"{SPECIFICATION:<14} Table S1: size, memory and time alone")
  lines.append(f"{ALL:<14} all studies; runs in common are trained once")
  return "\n".join(lines)


def _choose(name: str, catalogue: Catalogue) -> list[Study]:
  from metabin_jax.repro.jobs import did_you_mean

  if name == ALL:
    return [*catalogue.studies.values()]
  if name not in catalogue.studies:
    known = (*catalogue.studies, SPECIFICATION, ALL)
    raise UserError(
      f"there is no study {name!r}{did_you_mean(name, known)}; use one of "
      f"{', '.join(known)}."
    )
  return [catalogue.studies[name]]


def _part(text: str) -> tuple[int, int]:
  index, _, count = text.partition("/")
  if index.isdecimal() and count.isdecimal() and int(index) < int(count):
    return int(index), int(count)
  raise argparse.ArgumentTypeError(
    f"{text} is no part; write I/N with I from 0 to N - 1, such as 0/2 and "
    "1/2 for two machines"
  )


def _count(text: str) -> int:
  if text.isdecimal() and int(text):
    return int(text)
  raise argparse.ArgumentTypeError(
    f"{text} is no number of processes; write a whole number from 1"
  )


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
