"""The runs that figures are drawn of."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from metabin_jax.errors import UserError
from metabin_jax.runtime import run_folder

# Where a job of `metabin repro` keeps the workdir of its training.
_INSIDE_JOB = "run"


class Run(NamedTuple):
  """A run on disk.

  Attributes:
    name: what figures call it.
    workdir: the folder that `metabin train` has written.
    description: its `run.json`.
  """

  name: str
  workdir: pathlib.Path
  description: dict[str, Any]


class Options(NamedTuple):
  """What a user can choose about figures.

  Attributes:
    step: checkpoint; None for the newest.
    targets: descriptions of data sets; empty for the run's own.
    batches: number of meta-train batches that gradients are averaged over.
    losses: losses whose gradients are drawn; empty for the run's meta-train
      losses.
    layers: layers whose curves are drawn; empty for five from first to last.
  """

  step: int | None = None
  targets: tuple[str, ...] = ()
  batches: int = 10
  losses: tuple[str, ...] = ()
  layers: tuple[str, ...] = ()


def find_runs(folders: Sequence[pathlib.Path]) -> list[Run]:
  """Looks at folders of runs.

  Args:
    folders: workdirs of `metabin train` or jobs of `metabin repro`, or any
      mixture.

  Returns:
    The runs, in this order; called by the folder's name if all names differ,
    else by the path as given.

  Raises:
    UserError: if a folder holds no run or is given twice.
  """
  places = [folder.resolve() for folder in folders]
  for index, place in enumerate(places):
    if place in places[:index]:
      raise UserError(f"{folders[index]} is given twice; name each run once.")
  names = [place.name for place in places]
  if len(set(names)) < len(names):
    names = [str(folder) for folder in folders]
  return [
    _find_run(name, folder) for name, folder in zip(names, folders, strict=True)
  ]


def _find_run(name: str, folder: pathlib.Path) -> Run:
  for workdir in (folder, folder / _INSIDE_JOB):
    description = run_folder.load_description(workdir)
    if description is not None:
      return Run(name, workdir, description)
  raise UserError(
    f"{folder} holds no run (no run.json); give the --workdir of a `metabin "
    "train`, or the folder of a job of `metabin repro`."
  )
