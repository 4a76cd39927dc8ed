"""What a study is made of: arms, entries, jobs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

SCALES = ("quick", "full")
# Data of a job: multi-source domain generalization; one source, its cameras as
# domains, in two directions; a source whose own test part is the target; and
# labelled sources besides a site whose own test part is the target.
SETTINGS = ("dg", "single-a", "single-b", "supervised", "site")
FIRST_SEED = 2020

# setting -> target or "average" -> metric ("rank-1", "mAP", ...) -> percent
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
# Changes of the section `eval`, as `scoring.override_eval` takes them.
Scoring = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Arm:
  """A named way to train: changes of configuration keys.

  Attributes:
    name: as on the command line and in folder names.
    title: as in tables.
    changes: dotted configuration key -> value, over the scale's configuration.
    quick: further changes at the quick scale.
    full: further changes at the full scale.
    note: what the sources leave open and how it is resolved here.
    start: name of the arm whose run, of the same scale, setting and seed, gives
      the weights to start from, its classifier included; "" for none.
  """

  name: str
  title: str
  changes: Mapping[str, Any]
  quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  full: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  note: str = ""
  start: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
  """One row of a study.

  Attributes:
    label: as published.
    arm: name of the arm; None quotes published numbers of a system that is not
      built here.
    changes: what the row changes in its arm (the swept value).
    published: scores in percent, as published.
    source: where these stand.
    settings: where this row is run, if not in all settings of its study.
    incomparable: setting -> metrics whose published value is computed by
      another rule than ours, so that their difference says nothing.
    scoring: what changes after the training, in the section `eval`, as
      `scoring.override_eval` takes it. Rows that differ in nothing else share
      their training run.
  """

  label: str
  arm: str | None
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  published: Scores = dataclasses.field(default_factory=dict)
  source: str = ""
  settings: tuple[str, ...] | None = None
  incomparable: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )
  scoring: Scoring = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Study:
  """A table, or the runs behind a figure.

  Attributes:
    name: as on the command line, e.g. "table4".
    title: one line.
    question: what it asks.
    entries: its rows.
    settings: the data it runs on, a part of `SETTINGS`.
    metrics: columns of the table.
    per_target: show every target, not the average alone.
    note: what a reader must know.
  """

  name: str
  title: str
  question: str
  entries: tuple[Entry, ...]
  settings: tuple[str, ...] = ("dg",)
  metrics: tuple[str, ...] = ("rank-1", "mAP")
  per_target: bool = False
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Job:
  """One training run.

  Attributes:
    scale: of `SCALES`.
    setting: of `SETTINGS`.
    arm: name of the arm.
    seed: `train.seed`.
    overrides: dotted key -> plain JSON value: everything that the arm, the row
      and the command line change in the configuration of (scale, setting).
    start: the run whose weights it starts from, or None.
  """

  scale: str
  setting: str
  arm: str
  seed: int
  overrides: Mapping[str, Any]
  start: Job | None = None

  @property
  def digest(self) -> str:
    """Eight hexadecimal digits of everything that makes the run what it is."""
    data = dataclasses.asdict(self)
    if self.start is None:
      del data["start"]  # runs of before there were such keep their names
    return _digest(data)

  @property
  def name(self) -> str:
    """Folder name: two jobs share it only if they are the same run."""
    return f"{self.arm}-seed{self.seed}-{self.digest}"


def load_job(data: Mapping[str, Any]) -> Job:
  """A job from what `dataclasses.asdict` made of it."""
  start = data.get("start")
  return Job(**{**data, "start": load_job(start) if start else None})


def scoring_name(scoring: Scoring) -> str:
  """What a way to score is called in result.json; "" for the run's own."""
  return _digest(scoring) if scoring else ""


def _digest(data: Any) -> str:
  text = json.dumps(data, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:8]
