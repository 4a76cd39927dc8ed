"""Weights to start from: of other programs, or of a finished run."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from metabin_jax.interop import matching, sources, weights
from metabin_jax.runtime import leaves, run_folder, scoring

_OURS = "metabin_jax"


class Initial(NamedTuple):
  """Weights and where they come from.

  Attributes:
    weights: by our paths.
    origin: as the user wrote it.
    sha256: of the file, or of the arrays of a run.
    labels_sha256: of a run, `experiment.fingerprint` of its training images;
      "" for a file.
  """

  weights: weights.Weights
  origin: str
  sha256: str
  labels_sha256: str = ""


def load(text: str) -> Initial:
  """Reads the weights that `model.pretrained` names.

  Args:
    text: a file, "hf:OWNER/NAME", or the workdir of a run.

  Returns:
    The weights.

  Raises:
    UserError: if they cannot be read or are of no known layout.
  """
  folder = pathlib.Path(text)
  if not text.startswith(sources.HUB) and folder.is_dir():
    return _load_run(folder, text)
  state = sources.open_state(text)
  network = weights.recognize(state.arrays)
  return Initial(weights.read(state.arrays, network), text, state.sha256)


def start(
  variables: Mapping[str, Any],
  initial: Initial,
  norm: str,
  *,
  classifier: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Puts weights into a freshly made network.

  Args:
    variables: of the network.
    initial: from `load`.
    norm: arm of the network.
    classifier: take the classifier too; without, it stays new.

  Returns:
    (variables, record): the record is JSON data for `run.json`.

  Raises:
    UserError: if the weights do not fit.
  """
  filled = weights.fill(variables, initial.weights, norm, classifier=classifier)
  return filled.variables, describe(initial, filled)


def describe(initial: Initial, filled: weights.Filled) -> dict[str, Any]:
  """What has been taken from where, as JSON data."""
  network = initial.weights.network
  return {
    "origin": initial.origin,
    "sha256": initial.sha256,
    "layout": network.layout,
    "backbone": network.backbone,
    "width": network.width,
    "norm": network.norm,
    "taken": _count(filled.taken),
    "kept": _count(filled.kept),
    "dropped": _count(filled.dropped),
    "unused": list(initial.weights.unused),
  }


def _count(paths: Iterable[matching.Path]) -> dict[str, int]:
  """Arrays by the last part of their names."""
  return dict(sorted(Counter(path[-1] for path in paths).items()))


def lines(record: Mapping[str, Any]) -> list[str]:
  """The record of `describe` as lines to print."""

  def count(found: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in found.items()) or "none"

  found = [
    f"weights {record['origin']}: layout {record['layout']}, "
    f"{record['backbone']} of width {record['width']}, norm {record['norm']}, "
    f"sha256={record['sha256'][:12]}",
    f"arrays taken: {count(record['taken'])}",
    f"arrays that keep their initial values: {count(record['kept'])}",
  ]
  if record["dropped"]:
    found.append(f"arrays with no place: {count(record['dropped'])}")
  if record["unused"]:
    found.append(f"keys not used: {', '.join(record['unused'])}")
  return found


def _load_run(folder: pathlib.Path, text: str) -> Initial:
  run = scoring.load_run(folder)
  arrays = leaves.unnest(run.variables)
  model = run.config.model
  network = weights.Network(_OURS, model.backbone, model.width, model.norm)
  return Initial(
    weights.Weights(network, arrays, run.network.num_classes, ()),
    text,
    run.card["model"]["sha256"],
    (run_folder.load_description(folder) or {}).get("data_sha256", ""),
  )
