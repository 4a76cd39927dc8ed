"""Weights in the layout of the reference implementation, in and out.

The reference stores one flat dict of arrays. `from_official` turns it into our
three trees and accounts for every key; `to_official` is its inverse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax import models
from metabin_jax.errors import UserError
from metabin_jax.models import registry, reid

COLLECTIONS = ("params", "balance", "batch_stats")
# Our variable name -> the reference's suffix, per arm.
_BATCH = {"mean": "running_mean", "var": "running_var"}
_SUFFIXES = {
  "bn": {"bn_scale": "weight", "bn_bias": "bias", **_BATCH},
  "in": {"in_scale": "weight", "in_bias": "bias"},
  "bin_shared": {"scale": "weight", "bias": "bias", "rho": "gate", **_BATCH},
  "bin_half": {
    "bn_scale": "bat_n.weight",
    "bn_bias": "bat_n.bias",
    "in_scale": "ins_n.weight",
    "in_bias": "ins_n.bias",
    "mean": "bat_n.running_mean",
    "var": "bat_n.running_var",
  },
}
_SUFFIXES["bin"] = {**_SUFFIXES["bin_half"], "rho": "gate"}
# Some layers are of the one kind, some of the other.
_SUFFIXES["dualnorm_metabin"] = {**_SUFFIXES["bn"], **_SUFFIXES["in"]}
_CONSTANTS = {"pixel_mean": reid.PIXEL_MEAN, "pixel_std": reid.PIXEL_STD}


def from_official(
  state: Mapping[str, np.ndarray],
  backbone: str,
  norm: str,
  *,
  width: float = 1.0,
) -> dict[str, Any]:
  """Turns a reference state dict into our variables.

  Args:
    state: arrays by the reference's keys; convolutions [O, I, kh, kw], the
      classifier [K, D].
    backbone: name for `models.create`.
    norm: arm for `models.create`.
    width: channel multiplier for `models.create`.

  Returns:
    {"params", "balance", "batch_stats"}: nested dicts of NumPy arrays in the
    dtype they came in.

  Raises:
    UserError: lists keys that are missing, left over, of another shape or not
      finite; or says which backbones and norms there are, or that the reference
    does not have the norm.
  """
  if "heads.classifier_fc.weight" not in state:
    raise UserError(
      "the state dict has no heads.classifier_fc.weight, so it is not a "
      "MetaBIN checkpoint; pass the dict stored under its key 'model'."
    )
  if norm in registry.norms() and norm not in _SUFFIXES:
    raise UserError(
      f"the reference has no weights for norm {norm!r}; those it has are "
      f"{', '.join(_SUFFIXES)}."
    )
  num_classes = state["heads.classifier_fc.weight"].shape[0]
  try:
    paths = _paths(backbone, norm, width, num_classes)
  except ValueError as error:
    raise UserError(str(error)) from error
  needed = {key for key, _ in paths.values()}
  counters = {_counter(key) for key in needed if key.endswith("running_var")}
  missing = sorted(needed - set(state))
  extra = sorted(set(state) - needed - counters - set(_CONSTANTS))
  wrong = [
    f"{key} is {np.shape(state[key])}, want {_layout_shape(key, shape)}"
    for key, shape in paths.values()
    if key in state and np.shape(state[key]) != _layout_shape(key, shape)
  ]
  wrong += [
    f"{key} is not finite"
    for key in sorted(needed & set(state))
    if not np.isfinite(state[key]).all()
  ]
  for key, value in _CONSTANTS.items():
    if key in state and not np.allclose(np.ravel(state[key]), value, rtol=1e-6):
      wrong.append(f"{key} is not ImageNet's {value}")
  if missing or extra or wrong:
    raise UserError(
      f"the weights do not fit {backbone} (norm {norm}, width {width}): "
      f"{_count(missing, 'missing')}; {_count(extra, 'unknown')}; "
      f"{_count(wrong, 'of another shape or value')}."
    )
  variables: dict[str, Any] = {name: {} for name in COLLECTIONS}
  for path, (key, _) in paths.items():
    node = variables
    for part in path[:-1]:
      node = node.setdefault(part, {})
    node[path[-1]] = _from_torch(np.asarray(state[key]))
  return variables


def to_official(
  variables: Mapping[str, Any], norm: str
) -> dict[str, np.ndarray]:
  """Turns our variables into a reference state dict.

  Args:
    variables: {"params", "balance", "batch_stats"}.
    norm: the arm they belong to.

  Returns:
    Arrays by the reference's keys, its constants and counters included.
  """
  state = {
    key: np.asarray(value, np.float32).reshape(1, 3, 1, 1)
    for key, value in _CONSTANTS.items()
  }
  for collection in COLLECTIONS:
    flat = jax.tree_util.tree_leaves_with_path(variables.get(collection, {}))
    for path, leaf in flat:
      names = tuple(entry.key for entry in path)
      key = official_key(names, norm)
      state[key] = _to_torch(np.asarray(leaf))
      if key.endswith("running_var"):
        state[_counter(key)] = np.zeros((), np.int64)
  return state


def official_key(path: tuple[str, ...], norm: str) -> str:
  """The reference's key of one of our variables.

  Args:
    path: names below the collection, e.g. ("backbone", "layer1", "conv",
      "kernel").
    norm: arm of the backbone.

  Returns:
    The key, e.g. "backbone.layer1.conv.weight".
  """
  if path == ("classifier",):
    return "heads.classifier_fc.weight"
  if path[0] == "neck":
    return f"heads.classifier_norm.{_SUFFIXES['bn'][path[1]]}"
  parts = [re.sub(r"^(layer\d+)_(\d+)$", r"\1.\2", part) for part in path[:-1]]
  suffix = "weight" if path[-1] == "kernel" else _SUFFIXES[norm][path[-1]]
  return ".".join([*parts, suffix])


def _counter(running_var_key):
  """The unused batch counter beside a running variance."""
  return running_var_key.removesuffix("running_var") + "num_batches_tracked"


def _paths(backbone, norm, width, num_classes):
  """Our (collection, *path) -> (reference key, our shape)."""
  network = models.create(
    backbone, norm=norm, num_classes=num_classes, width=width
  )
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
  variables = jax.eval_shape(
    lambda x: network.init(jax.random.key(0), x, mode="hold"), images
  )
  paths = {}
  for collection in COLLECTIONS:
    flat = jax.tree_util.tree_leaves_with_path(variables.get(collection, {}))
    for path, leaf in flat:
      names = tuple(entry.key for entry in path)
      paths[(collection, *names)] = (official_key(names, norm), leaf.shape)
  return paths


def _layout_shape(key, shape):
  """Our shape in the reference's layout."""
  if len(shape) == 4:
    return (shape[3], shape[2], shape[0], shape[1])
  return shape[::-1] if key.endswith("classifier_fc.weight") else shape


def _from_torch(array):
  if array.ndim == 4:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
  return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def _to_torch(array):
  if array.ndim == 4:
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1))
  return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def _count(items, what):
  if not items:
    return f"none {what}"
  shown = ", ".join(items[:5]) + (", ..." if len(items) > 5 else "")
  return f"{len(items)} {what} ({shown})"
