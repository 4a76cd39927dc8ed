"""What a run leaves on disk besides checkpoints and metrics, and its checks."""

from __future__ import annotations

import json
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import metabin_jax
from metabin_jax import default_config
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError
from metabin_jax.evaluation.table import save_json
from metabin_jax.runtime import plugins

CHECKPOINTS = "checkpoints"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# Keys that may change between a run and its continuation: they do not touch
# what has been computed so far.
_MAY_CHANGE = (
  "train.steps",
  "train.epochs",
  "train.log_every_steps",
  "train.checkpoint_every_steps",
  "train.keep_checkpoints",
  "data.targets",
  "data.workers",
  "data.prefetch",
  "data.cache",
  "data.cache_dir",
  "model.remat",
  "parallel.runner",
  "parallel.devices",
)
_DESCRIPTION = "run.json"
_SPEED = "speed.json"


def describe(
  config: dict[str, Any],
  num_classes: int,
  data_sha256: str,
  sources: Sequence[DataSet] = (),
  unlabelled: Sequence[DataSet] = (),
) -> dict[str, Any]:
  """Everything a later reader needs to trust or doubt a run.

  Args:
    config: the resolved configuration as plain data.
    num_classes: identities of the training set.
    data_sha256: fingerprint of the training images' labels.
    sources: the training data, for what a reader of results must know of it.
    unlabelled: those that were learned from without labels, likewise.

  Returns:
    JSON data: configuration, sources, versions, command, commit, device.
  """
  import jax

  return {
    "config": config,
    "num_classes": num_classes,
    "data_sha256": data_sha256,
    "sources": describe_sources(sources, unlabelled),
    "plugins": plugins.digests(config["model"]["plugins"]),
    "versions": versions(),
    "command": shlex.join(sys.argv),
    "commit": _commit(),
    "device": jax.devices()[0].device_kind,
  }


def versions() -> dict[str, str]:
  """Versions of this package, of Python and of the numeric packages."""
  return {
    "metabin_jax": metabin_jax.__version__,
    "python": platform.python_version(),
    **{name: metadata.version(name) for name in _PACKAGES},
  }


def describe_sources(
  sources: Sequence[DataSet], unlabelled: Sequence[DataSet] = ()
) -> list[dict[str, Any]]:
  """What a reader of results must know of the training data, as JSON data.

  Args:
    sources: the data sets.
    unlabelled: further ones, whose persons the method did not know; it is said.
  """
  without: dict[str, Any] = {"labels": "not used"}
  return [
    {
      "name": source.name,
      "images": len(source.train),
      "public": source.provenance.public,
      "variant": source.provenance.variant,
      "notes": list(source.provenance.notes),
      "terms": terms(source.provenance.public),
      **said,
    }
    for datasets, said in ((sources, {}), (unlabelled, without))
    for source in datasets
  ]


def terms(public: str) -> str:
  """On what terms a public data set is given; "" for other data."""
  return PUBLIC_SETS[public].terms if public in PUBLIC_SETS else ""


def save_description(
  workdir: pathlib.Path, description: dict[str, Any]
) -> None:
  """Writes `run.json`, readable without any checkpoint library."""
  workdir.mkdir(parents=True, exist_ok=True)
  save_json(workdir / _DESCRIPTION, description)


def save_speed(workdir: pathlib.Path, report: dict[str, Any]) -> None:
  """Writes `speed.json`: the last session's `pace.Pace.report`."""
  save_json(workdir / _SPEED, report)


def load_description(workdir: pathlib.Path) -> dict[str, Any] | None:
  """Reads `run.json`; None if it is missing or no such description.

  Checkpoints hold the same and are checked; this one is quick to read.
  """
  try:
    found = json.loads((workdir / _DESCRIPTION).read_bytes())
  except (OSError, ValueError):
    return None
  known = isinstance(found, dict) and {"config", "data_sha256"} <= found.keys()
  return found if known else None


def check_same_run(
  stored: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path
) -> None:
  """Refuses to continue a run under another configuration or other data.

  Args:
    stored: description in the checkpoint.
    now: description of the run about to start.
    workdir: folder, for the message.

  Raises:
    UserError: lists what differs.
  """
  # A key that a run of an earlier version has not stored had its default.
  defaults = flatten(default_config.get_config().to_dict())
  before = defaults | flatten(stored["config"])
  after = flatten(now["config"])
  may_change = set(_MAY_CHANGE)
  if after.get("optim.schedule") == "cosine":
    # Its end, and with it every rate before, hangs on the number of epochs.
    may_change.remove("train.epochs")
  changed = [
    f"{key} was {before.get(key)!r}, is {after.get(key)!r}"
    for key in sorted(before | after)
    if _plain(before.get(key)) != _plain(after.get(key))
    and key not in may_change
    and not key.startswith("eval.")
  ]
  if stored["data_sha256"] != now["data_sha256"]:
    changed.append("the training images or their labels")
  if stored.get("unlabelled_sha256") != now.get("unlabelled_sha256"):
    changed.append("the images of data.unlabelled")
  # Runs of before plug-ins were recorded have none.
  if stored.get("plugins", {}) != now.get("plugins", {}):
    changed.append("the files of model.plugins")
  if changed:
    raise UserError(
      f"{workdir} holds a run with other settings ({'; '.join(changed[:4])}); "
      "use another --workdir, or the settings it was started with."
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """{"a": {"b": 1}} -> {"a.b": 1}."""
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[prefix + key] = value
  return flat


def _plain(value: Any) -> Any:
  """As JSON has it."""
  return list(value) if isinstance(value, tuple) else value


def _commit() -> str | None:
  """Git revision of the source tree; None for an installed package."""
  folder = pathlib.Path(metabin_jax.__file__).parent
  # Above a package in site-packages may lie a repository of something else.
  if not (folder.parent / ".git").exists():
    return None
  try:
    found = subprocess.run(
      ["git", "-C", str(folder), "rev-parse", "HEAD"],
      capture_output=True,
      text=True,
      timeout=10,
      check=False,
    )
  except (OSError, subprocess.TimeoutExpired):
    return None
  return found.stdout.strip() or None
