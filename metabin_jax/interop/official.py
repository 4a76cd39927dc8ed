"""Weights in the layout of the reference implementation, in and out.

The reference stores one flat dict of arrays. `from_official` turns it into our
three trees and accounts for every key; `to_official` is its inverse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.interop import layouts, matching
from metabin_jax.models import registry, reid

# Our variable name -> the reference's suffix, per arm.
_BATCH = {"mean": "running_mean", "var": "running_var"}
_SUFFIXES = {
  "bn": layouts.BATCH_NORM,
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
BACKBONES = ("mobilenetv2", *layouts.RESNETS)
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
  if norm in registry.norms():
    check_network(backbone, norm)
  num_classes = state["heads.classifier_fc.weight"].shape[0]
  shapes = matching.shapes(backbone, norm, width, num_classes)
  keys = {path: official_key(path[1:], norm) for path in shapes}
  matching.check(
    state,
    {
      keys[path]: matching.torch_shape(shape, path[-1] == "classifier")
      for path, shape in shapes.items()
    },
    {*_CONSTANTS}
    | {
      matching.counter_key(key)
      for key in keys.values()
      if key.endswith("running_var")
    },
    f"{backbone} (norm {norm}, width {width})",
    [
      f"{key} is not ImageNet's {value}"
      for key, value in _CONSTANTS.items()
      if key in state
      and not np.allclose(np.ravel(state[key]), value, rtol=1e-6)
    ],
  )
  return matching.nest(
    {
      path: matching.from_torch(np.asarray(state[key]))
      for path, key in keys.items()
    }
  )


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
  for path, leaf in matching.flatten(variables).items():
    key = official_key(path[1:], norm)
    state[key] = matching.to_torch(np.asarray(leaf))
    if key.endswith("running_var"):
      state[matching.counter_key(key)] = np.zeros((), np.int64)
  return state


def check_network(backbone: str, norm: str) -> None:
  """Refuses a network that the reference does not have.

  Raises:
    UserError: says which it has.
  """
  for what, value, known in (
    ("norm", norm, tuple(_SUFFIXES)),
    ("backbone", backbone, BACKBONES),
  ):
    if value not in known:
      raise UserError(
        f"the reference has no weights for {what} {value!r}; those it has are "
        f"{', '.join(known)}."
      )


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
