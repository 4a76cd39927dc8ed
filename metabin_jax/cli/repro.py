"""`metabin repro`: the paper's tables and figures, each as one command."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.cli import data_options, outputs, repro_options
from metabin_jax.errors import UserError

if TYPE_CHECKING:  # needs JAX, which mistakes in flags do not
  from metabin_jax.repro.jobs import Catalogue, Cell, Choice
  from metabin_jax.repro.runner import Task
  from metabin_jax.repro.types import Study

ALL = "all"
SPECIFICATION = "specification"
# The study whose other half is the specification.
_SPECIFIED = "table-s1"


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin repro --help`."""
  parser = repro_options.make_parser()
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
  if args.figures:
    from metabin_jax.report import style

    style.check_installed()
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
    if args.list:
      raise UserError(f"{SPECIFICATION} has no runs to list; leave out --list.")
    _specify(args.out / args.scale, args.scale)
    return 0
  studies = _choose(args.study, catalogue)
  own = [own_arms.load(path, args.scale, catalogue) for path in args.add_arm]
  studies, catalogue = own_arms.add(own, studies, catalogue)
  if args.settings:
    studies = _keep_settings(studies, tuple(args.settings.split(",")))
  kept = tuple(args.arms.split(",")) if args.arms else None
  _check_arms(kept or (), studies, catalogue)
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
    jobs.list_scorings(studies, choice, catalogue),
  )
  mine = tasks if args.part is None else runner.share(tasks, args.part)
  if args.list:
    for task in mine:
      print(preparation.describe_state(args.out, task))
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

  configs = {task.job.name: task.config for task in tasks}
  folder = args.out / args.scale
  written = []
  for study in studies:
    cells = jobs.list_cells(study, choice, catalogue)
    data = collect.collect(study, choice, cells, configs, args.out)
    name = study.name + _suffix(choice.overrides)
    render.save(data, folder, name)
    print(render.to_markdown(data), flush=True)
    _say(f"written: {folder / name}.md and .json")
    written.append((name, cells, data))
  if args.json is not None:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    tables = [data for _, _, data in written]
    save_json(args.json, tables[0] if args.study != ALL else tables)
  if args.figures:
    for name, cells, data in written:
      _draw(args.out, folder, name, cells, data)


def _draw(
  out: pathlib.Path,
  folder: pathlib.Path,
  name: str,
  cells: Sequence[Cell],
  data: Mapping[str, Any],
) -> None:
  """Bars of a table, and by setting the figures of the first seed's runs."""
  if not any(row["ours"] for row in data["rows"]):
    _say(f"{name}: no row has been run, nothing to draw")
    return
  from metabin_jax.report import kinds

  table, folder = folder / f"{name}.json", folder / f"{name}-figures"
  kinds.make_bars([table], kinds.Output(folder, "png"))
  _draw_runs(out, folder, cells, data)
  _say(f"drawn: {folder}")


def _draw_runs(
  out: pathlib.Path,
  folder: pathlib.Path,
  cells: Sequence[Cell],
  data: Mapping[str, Any],
) -> None:
  from metabin_jax.report import kinds, runs
  from metabin_jax.repro import job_folder

  by_setting: dict[str, dict[pathlib.Path, str]] = {}
  for cell, row in zip(cells, data["rows"], strict=True):
    for job in cell.jobs[:1]:
      if str(job.seed) not in row["missing"]:
        known = by_setting.setdefault(cell.setting, {})
        path = job_folder.find(out, job).path
        known.setdefault(path, cell.entry.label)
  for setting, labels in by_setting.items():
    found = [
      run._replace(name=label)
      for run, label in zip(
        runs.find_runs([*labels]), labels.values(), strict=True
      )
    ]
    output = kinds.Output(folder / setting, "png")
    kinds.make_all(found, (), runs.Options(), output, _say)


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


def _check_arms(
  names: Sequence[str], studies: Sequence[Study], catalogue: Catalogue
) -> None:
  """Refuses an arm that no row of the studies has."""
  rows = [entry.arm for study in studies for entry in study.entries]
  known = [arm for arm in dict.fromkeys(rows) if arm is not None]
  for name in names:
    if name in catalogue.arms and name not in known:
      raise UserError(
        f"{', '.join(study.name for study in studies)}: no row has the arm "
        f"{name}; its arms are {', '.join(known)}."
      )


def _keep_settings(
  studies: Sequence[Study], settings: tuple[str, ...]
) -> list[Study]:
  """The studies with these settings alone, without those that have none."""
  from metabin_jax.repro.types import SETTINGS

  for name in settings:
    if name not in SETTINGS:
      raise UserError(
        f"there is no setting {name!r}; use some of {', '.join(SETTINGS)}."
      )
  kept = [
    dataclasses.replace(
      study, settings=tuple(s for s in study.settings if s in settings)
    )
    for study in studies
  ]
  kept = [study for study in kept if study.settings]
  if not kept:
    raise UserError(
      f"{', '.join(s.name for s in studies)}: no rows for the setting "
      f"{', '.join(settings)}; docs/repro.md lists the settings of each study."
    )
  return kept


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
