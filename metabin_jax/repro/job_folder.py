"""The folder of one job: what lies where, and whether its result still holds.

`OUT/jobs/<scale>/<setting>/<job's name>/` holds job.json (what to do), log.txt,
run/ (as `metabin train` leaves it), costs.json, lock, and at the end
result.json or error.txt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import config_dict

from metabin_jax import default_config
from metabin_jax.data import readers
from metabin_jax.data.public import reading
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.errors import UserError
from metabin_jax.evaluation.table import save_json
from metabin_jax.repro.types import Job, Scoring
from metabin_jax.runtime import file_lock, plugins, resolve
from metabin_jax.runtime.run_folder import flatten

# Exit status of a process that finds the job held by another one (EX_TEMPFAIL
# of sysexits.h).
HELD = 75
# Keys that change how fast a run is, but none of its numbers.
_FREE = (
  "data.workers",
  "data.prefetch",
  "data.cache",
  "data.cache_dir",
  "train.log_every_steps",
)
_SPECS = ("data.sources", "data.unlabelled", "data.targets")


class JobFolder:
  """Paths below a job's folder, and its documents."""

  def __init__(self, path: pathlib.Path):
    """Names the paths; touches nothing."""
    self.path = path
    self.run = path / "run"
    self.log = path / "log.txt"
    self.error = path / "error.txt"
    self.costs = path / "costs.json"
    self._job = path / "job.json"
    self._result = path / "result.json"
    self._lock = path / "lock"

  def save_job(
    self,
    job: Job,
    config: Mapping[str, Any],
    more_targets: Sequence[str],
    scorings: Mapping[str, Scoring] = MappingProxyType({}),
  ) -> None:
    """Writes what to do.

    Args:
      job: the job.
      config: its configuration, resolved.
      more_targets: data sets to score on beside its own.
      scorings: further ways to score the trained network, by name.
    """
    self.path.mkdir(parents=True, exist_ok=True)
    save_json(
      self._job,
      {
        "job": dataclasses.asdict(job),
        "config": dict(config),
        "more_targets": list(more_targets),
        "scorings": dict(scorings),
      },
    )

  def load_job(self) -> dict[str, Any]:
    """Reads it.

    Raises:
      UserError: if the folder holds no job.
    """
    found = _load(self._job)
    if found is None:
      raise UserError(
        f"{self.path} holds no job; `metabin repro` makes the folders of jobs."
      )
    return found

  def save_result(self, result: Mapping[str, Any]) -> None:
    """Writes the result: from now on the job is finished."""
    save_json(self._result, dict(result))

  def load_result(self) -> dict[str, Any] | None:
    """Reads the result; None if the job is not finished."""
    return _load(self._result)

  def hold(self) -> contextlib.AbstractContextManager[bool]:
    """Holds the folder for this process; gives False if another one does."""
    return file_lock.hold(self._lock)


def find(out: pathlib.Path, job: Job) -> JobFolder:
  """The folder of a job below the output folder."""
  return JobFolder(out / "jobs" / job.scale / job.setting / job.name)


def differences(
  result: Mapping[str, Any], config: config_dict.FrozenConfigDict
) -> list[str]:
  """What has changed in the configuration since a job was finished.

  Args:
    result: from `JobFolder.load_result`.
    config: the job's configuration as it is today, resolved.

  Returns:
    "key was x, is y" for each; empty if the result still holds. A key that was
    not known then counts as having had its default. Where the data lie does
    not matter.
  """
  before = flatten(result["config"])
  today = flatten(resolve.to_dict(config))
  defaults = resolve.to_dict(resolve.resolve(default_config.get_config()))
  known = flatten(defaults) | before
  changed = [
    f"{key} was {_shown(known[key])}, is {_shown(today[key])}"
    for key in sorted(today)
    if key not in _FREE
    and _meaning(key, known[key]) != _meaning(key, today[key])
  ]
  if result.get("plugins", {}) != plugins.digests(config.model.plugins):
    changed.append("the files of model.plugins")
  return changed


def changes_numbers(overrides: Mapping[str, Any]) -> bool:
  """Whether any of these configuration keys may change a score."""
  return any(key not in _FREE for key in overrides)


def is_partial(config: config_dict.FrozenConfigDict) -> bool:
  """Whether a run may take public data sets with files missing."""
  data = config.data
  specs = (*data.sources, *data.unlabelled, *data.targets)
  options = [readers.parse_spec(spec).options for spec in specs]
  return any(chosen.get(reading.PARTIAL) == "allow" for chosen in options)


def missing_targets(
  result: Mapping[str, Any], more_targets: Sequence[str]
) -> list[str]:
  """Further targets that a finished job has not been scored on yet."""
  return [spec for spec in more_targets if spec not in result["more_targets"]]


def lacks(
  result: Mapping[str, Any],
  more_targets: Sequence[str],
  scorings: Iterable[str],
) -> bool:
  """Whether a finished job must be scored again, on more or in other ways.

  Args:
    result: from `JobFolder.load_result`.
    more_targets: further targets that are asked for.
    scorings: names of ways to score that are asked for.
  """
  known = result.get("scorings", {})  # older results have none
  return bool(missing_targets(result, more_targets)) or any(
    name not in known for name in scorings
  )


def _meaning(key: str, value: Any) -> Any:
  if key not in _SPECS:
    return value
  parsed = [readers.parse_spec(spec) for spec in value]
  return [
    (
      spec.reader,
      "" if spec.reader in PUBLIC_SETS else spec.location,
      sorted((k, v) for k, v in spec.options.items() if k != reading.LICENSED),
    )
    for spec in parsed
  ]


def _shown(value: Any) -> str:
  return repr(value) if isinstance(value, str) else json.dumps(value)


def _load(file: pathlib.Path) -> dict[str, Any] | None:
  """JSON data; None if the file is not there.

  Raises:
    UserError: if it is damaged.
  """
  try:
    return json.loads(file.read_bytes())
  except FileNotFoundError:
    return None
  except ValueError as error:
    raise UserError(
      f"{file} is damaged ({error}); delete {file.parent} to run this job anew."
    ) from None
