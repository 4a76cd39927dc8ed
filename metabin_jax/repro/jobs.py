"""Which runs a study needs, and the configuration of each."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import config_dict

from metabin_jax.errors import UserError
from metabin_jax.repro.types import (
  FIRST_SEED,
  Arm,
  Entry,
  Job,
  Scoring,
  Study,
  scoring_name,
)
from metabin_jax.runtime import resolve
from metabin_jax.runtime.run_folder import flatten

_MOST_SEEDS = 100
# What makes an arm even where it keeps the default, as `metabin` does.
_WHAT_AN_ARM_IS = (
  "method",
  "model.norm",
  "loss.base",
  "loss.mtrain",
  "loss.mtest",
  "optim.joint_rho",
)


class Catalogue(NamedTuple):
  """All that can be run.

  Attributes:
    studies: by name.
    arms: by name.
    base: (scale, setting) -> configuration that arms change, unresolved.
    overrides: (arm, setting, scale, changes of the row and of the call) ->
      what they change together in a setting.
  """

  studies: Mapping[str, Study]
  arms: Mapping[str, Arm]
  base: Callable[[str, str], config_dict.ConfigDict]
  overrides: Callable[[Arm, str, str, Mapping[str, Any]], Mapping[str, Any]]


class Choice(NamedTuple):
  """What a call asks for.

  Attributes:
    scale: of `types.SCALES`.
    seeds: `train.seed` of the runs of each row.
    arms: keep only rows of these arms; None keeps all.
    overrides: dotted key -> value, for every run.
  """

  scale: str
  seeds: tuple[int, ...] = (FIRST_SEED,)
  arms: tuple[str, ...] | None = None
  overrides: Mapping[str, Any] = {}


class Cell(NamedTuple):
  """A row of a study on the data of one setting.

  Attributes:
    entry: the row.
    setting: of `types.SETTINGS`.
    jobs: its runs, one for each seed; none for a system that is only quoted.
  """

  entry: Entry
  setting: str
  jobs: tuple[Job, ...]


def list_cells(
  study: Study, choice: Choice, catalogue: Catalogue
) -> list[Cell]:
  """Rows times settings, in the order of the study.

  Args:
    study: the study.
    choice: what is asked for.
    catalogue: what there is.

  Returns:
    The cells; two with the same configuration have the same jobs.

  Raises:
    UserError: for an arm that is unknown, or an override of what a row is
      defined by.
  """
  for name in choice.arms or ():
    if name not in catalogue.arms:
      raise UserError(
        f"there is no arm {name!r}{did_you_mean(name, catalogue.arms)}; "
        f"the arms are {', '.join(catalogue.arms)}."
      )
  named = _Names(choice.scale, catalogue)
  return [
    Cell(entry, setting, _jobs(entry, setting, choice, named))
    for setting in study.settings
    for entry in study.entries
    if entry.settings is None or setting in entry.settings
    if choice.arms is None or entry.arm in choice.arms
  ]


def list_jobs(
  studies: Sequence[Study], choice: Choice, catalogue: Catalogue
) -> list[Job]:
  """The runs that studies need, each once.

  Args:
    studies: in the order to run them.
    choice: what is asked for.
    catalogue: what there is.

  Returns:
    The jobs, all of the first seed first: so a stopped call leaves whole
    tables of fewer seeds. A run that another starts from stands before it.

  Raises:
    UserError: as `list_cells`.
  """
  cells = [
    cell for study in studies for cell in list_cells(study, choice, catalogue)
  ]
  ordered = [
    job
    for number in range(len(choice.seeds))
    for cell in cells
    if cell.jobs
    for job in _with_starts(cell.jobs[number])
  ]
  return list({job.name: job for job in ordered}.values())


def list_scorings(
  studies: Sequence[Study], choice: Choice, catalogue: Catalogue
) -> dict[str, dict[str, Scoring]]:
  """How rows score the runs that they share.

  Args:
    studies: as `list_jobs` takes them.
    choice: what is asked for.
    catalogue: what there is.

  Returns:
    Job's name -> name of a way to score -> what it changes. Jobs without any
    are left out.

  Raises:
    UserError: as `list_cells`.
  """
  found: dict[str, dict[str, Scoring]] = {}
  for study in studies:
    for cell in list_cells(study, choice, catalogue):
      scoring = cell.entry.scoring
      if scoring:
        for job in cell.jobs:
          ways = found.setdefault(job.name, {})
          ways[scoring_name(scoring)] = _plain(scoring)
  return found


def make_config(
  job: Job,
  base: config_dict.ConfigDict,
  complete: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> config_dict.FrozenConfigDict:
  """The configuration of a run, resolved.

  Args:
    job: the run.
    base: configuration of its scale and setting.
    complete: adds to descriptions of data sets what the user has said about
      all of them.

  Returns:
    What `runtime.loop.train` takes.

  Raises:
    UserError: for an unknown key or a value that is not allowed.
  """
  values = _plain(base.copy_and_resolve_references().to_dict())
  for key, value in {**job.overrides, "train.seed": job.seed}.items():
    *sections, name = key.split(".")
    place = values
    for section in sections:
      if not isinstance(place.get(section), dict):
        place[section] = {}  # no such section: refused with its whole key
      place = place[section]
    place[name] = value
  data = resolve.to_dict(resolve.resolve(resolve.from_dict(values)))
  for name in ("sources", "unlabelled", "targets"):
    data["data"][name] = tuple(complete(data["data"][name]))
  return resolve.resolve(resolve.from_dict(data))


def parse_seeds(text: str) -> tuple[int, ...]:
  """Reads `--seeds`.

  Args:
    text: a number of seeds, counted from `FIRST_SEED`; or the seeds
      themselves, with a comma between or behind them.

  Raises:
    UserError: for anything else.
  """
  words = [word for word in text.split(",") if word]
  if not words or not all(w.isascii() and w.isdigit() for w in words):
    raise UserError(
      f"--seeds={text} is neither a number of seeds, such as 3, nor a list of "
      "seeds, such as 2020,2021; write one of the two."
    )
  numbers = tuple(int(word) for word in words)
  if "," in text:
    return tuple(dict.fromkeys(numbers))
  if not 1 <= numbers[0] <= _MOST_SEEDS:
    raise UserError(
      f"--seeds={text} asks for {text} seeds; write a number from 1 to "
      f"{_MOST_SEEDS}, or, for this one seed, --seeds={text},"
    )
  return tuple(range(FIRST_SEED, FIRST_SEED + numbers[0]))


def did_you_mean(word: str, known: Iterable[str]) -> str:
  """ " (did you mean 'x'?)" for the nearest known word; "" without one."""
  near = difflib.get_close_matches(word, list(known), 1)
  return f" (did you mean {near[0]!r}?)" if near else ""


class _Names:
  """Overrides of rows, and the one name that equal overrides run under."""

  def __init__(self, scale: str, catalogue: Catalogue):
    self._scale = scale
    self._catalogue = catalogue
    self._bases: dict[str, dict[str, Any]] = {}
    self._arms: dict[str, dict[str, str]] = {}

  def overrides(
    self, arm: Arm, setting: str, changes: Mapping[str, Any]
  ) -> dict[str, Any]:
    """What really differs from the base configuration, by sorted key."""
    base = self._base(setting)
    merged = _plain(
      self._catalogue.overrides(arm, setting, self._scale, changes)
    )
    # A swept value that is the default's gives the very run of the default.
    return {
      key: merged[key]
      for key in sorted(merged)
      if key not in base or base[key] != merged[key]
    }

  def arm(self, name: str, setting: str, overrides: dict[str, Any]) -> str:
    """The first arm with these overrides, else the row's own."""
    if setting not in self._arms:
      known: dict[str, str] = {}
      for arm in self._catalogue.arms.values():
        if arm.start:
          continue  # what it starts from makes it another run
        text = json.dumps(self.overrides(arm, setting, {}))
        known.setdefault(text, arm.name)
      self._arms[setting] = known
    return self._arms[setting].get(json.dumps(overrides), name)

  def defining(self, name: str) -> set[str]:
    """Keys without whose values it would be another arm."""
    arm = self._catalogue.arms[name]
    at_both_scales = arm.quick.keys() & arm.full.keys()
    return {*_WHAT_AN_ARM_IS, *arm.changes, *at_both_scales}

  def make(
    self,
    arm: str,
    changes: Mapping[str, Any],
    common: Mapping[str, Any],
    setting: str,
    seed: int,
  ) -> Job:
    """The job of a row; `common` is changed in the run it starts from too."""
    found = self._catalogue.arms[arm]
    overrides = self.overrides(found, setting, {**changes, **common})
    if not found.start:
      name = self.arm(arm, setting, overrides)
      return Job(self._scale, setting, name, seed, overrides)
    start = self.make(found.start, {}, common, setting, seed)
    return Job(self._scale, setting, arm, seed, overrides, start)

  def _base(self, setting: str) -> dict[str, Any]:
    if setting not in self._bases:
      config = self._catalogue.base(self._scale, setting)
      values = config.copy_and_resolve_references().to_dict()
      self._bases[setting] = flatten(_plain(values))
    return self._bases[setting]


def _jobs(
  entry: Entry, setting: str, choice: Choice, named: _Names
) -> tuple[Job, ...]:
  if entry.arm is None:
    return ()
  defining = named.defining(entry.arm) | entry.changes.keys()
  for key in choice.overrides:
    if key == "train.seed":
      raise UserError("train.seed cannot be set: use --seeds.")
    if key in defining:
      raise UserError(
        f"{key} cannot be set: it is a part of what the row {entry.label!r} "
        f"(arm {entry.arm}) is; choose rows without it by --arms, or add an "
        "arm of your own by --add-arm."
      )
  return tuple(
    named.make(entry.arm, entry.changes, choice.overrides, setting, seed)
    for seed in choice.seeds
  )


def _with_starts(job: Job) -> list[Job]:
  """The job, behind those that it starts from."""
  return [*(_with_starts(job.start) if job.start else ()), job]


def _plain(data: Any) -> Any:
  """As JSON holds it: tuples become lists."""
  return json.loads(json.dumps(data))
