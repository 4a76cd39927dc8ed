"""What is looked at before the first job runs: settings and data."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from metabin_jax.data import checks, protocols, readers
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError
from metabin_jax.repro import job_folder
from metabin_jax.repro.jobs import Catalogue, make_config
from metabin_jax.repro.runner import Task
from metabin_jax.repro.types import Job, Scoring
from metabin_jax.runtime import scoring, training_data


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
  """Reads `--set KEY=VALUE`.

  Args:
    words: what was given, in order; a later one of the same key counts.

  Returns:
    Dotted key -> value: a number, text, tuple, ... as Python writes it, else
    the text itself.

  Raises:
    UserError: for a word without "=".
  """
  settings = {}
  for word in words:
    key, mark, text = word.partition("=")
    if not mark or not key:
      raise UserError(
        f"--set {word} sets nothing; write --set KEY=VALUE, for example --set "
        "optim.lr=0.01."
      )
    try:
      settings[key] = ast.literal_eval(text)
    except (ValueError, SyntaxError):
      settings[key] = text
  return settings


def make_tasks(
  jobs: Iterable[Job],
  catalogue: Catalogue,
  complete: Callable[[Sequence[str]], Sequence[str]],
  scorings: Mapping[str, Mapping[str, Scoring]] = MappingProxyType({}),
) -> list[Task]:
  """Adds to each job its configuration; refuses mistakes in any of them.

  Args:
    jobs: the runs.
    catalogue: what they are made of.
    complete: adds to descriptions of data sets what the user has said about
      all of them.
    scorings: further ways to score each job, from `jobs.list_scorings`.

  Raises:
    UserError: names the job, and the key that is unknown or wrong.
  """
  tasks = []
  for job in jobs:
    base = catalogue.base(job.scale, job.setting)
    try:
      config = make_config(job, base, complete)
      task = Task(job, config, scorings.get(job.name, {}))
      for changes in task.scorings.values():
        scoring.override_eval(task.config, changes)
      tasks.append(task)
    except UserError as error:
      raise UserError(f"{job.arm} ({job.setting}): {error}") from error
  return tasks


def open_data(
  tasks: Iterable[Task], more_targets: Sequence[str], scale: str
) -> None:
  """Opens all data once: synthetic sets are rendered, mistakes found.

  Args:
    tasks: jobs and their configurations.
    more_targets: descriptions of targets that all jobs are scored on too.
    scale: of the jobs.

  Raises:
    UserError: if data is missing or unfit; at the full scale it names the
      folder where public data sets are expected.
  """
  opened: dict[str, DataSet] = {}

  def open_once(spec: str) -> DataSet:
    if spec not in opened:
      opened[spec] = readers.open_dataset(spec)
    return opened[spec]

  for _, config, _ in tasks:
    try:
      data = training_data.open_training_data(config, open_once)
      targets = (*config.data.targets, *more_targets)
      checks.check_targets(
        [*data.sources, *data.unlabelled],
        [open_once(spec) for spec in targets],
        cross_camera=config.eval.cross_camera,
      )
    except UserError as error:
      if scale != "full":
        raise
      raise UserError(
        f"the full scale needs the public data sets below $METABIN_DATA "
        f"(now {protocols.data_root()!r}): {str(error).rstrip('.')}; "
        "`metabin datasets` says where each is expected."
      ) from error


def describe_state(out: pathlib.Path, task: Task) -> str:
  """One line: what has become of a job, and what it is."""
  job = task.job
  folder = job_folder.find(out, job)
  result = folder.load_result()
  if result is not None:
    state = "finished"
    if job_folder.differences(result, task.config):
      state = "stale"
    elif job_folder.lacks(result, (), task.scorings):
      state = "to score"
  elif folder.error.exists():
    state = "failed"
  else:
    state = "begun" if folder.run.is_dir() else "to do"
  return f"{state:<8} {job.scale} {job.setting} {job.name}"
