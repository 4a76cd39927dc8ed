"""Weights of other programs: what they are for, and their place in a network.

`recognize` says from keys and shapes alone which layout, backbone, width and
arm a state dict belongs to; `read` turns it into arrays by our paths, every key
accounted for; `fill` puts these into the variables of a network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.interop import layouts, matching, official
from metabin_jax.interop.matching import Path
from metabin_jax.models import mobilenet_v2, resnet

METABIN = "metabin"
_WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0)
# Blocks of layer1 to layer4, bottlenecks or not.
_DEPTHS = {form: f"resnet{depth}" for depth, form in resnet.DEPTHS.items()}
# Our array's name -> that of the batch norm which it can start from.
_FROM_BATCH_NORM = {"scale": "bn_scale", "bias": "bn_bias"}
_INSTANCE = {"in_scale": "bn_scale", "in_bias": "bn_bias"}


class Network(NamedTuple):
  """What weights are for.

  Attributes:
    layout: "metabin", or a name of `layouts.LAYOUTS`.
    backbone: name for `models.create`.
    width: channel multiplier.
    norm: arm; "bn" for layouts of ordinary networks.
  """

  layout: str
  backbone: str
  width: float
  norm: str


class Weights(NamedTuple):
  """Weights by our paths.

  Attributes:
    network: what they are for.
    arrays: (collection, module, ..., array) -> array in our order.
    num_classes: rows of the classifier; 0 if there is none for us.
    unused: keys of the file that no network of ours has a place for.
  """

  network: Network
  arrays: dict[Path, np.ndarray]
  num_classes: int
  unused: tuple[str, ...]


class Filled(NamedTuple):
  """What `fill` has done.

  Attributes:
    variables: {"params", "balance", "batch_stats"}, nested dicts.
    taken: paths that got their array from the weights.
    kept: paths that kept their initial array.
    dropped: paths of the weights that the network has no place for.
  """

  variables: dict[str, Any]
  taken: tuple[Path, ...]
  kept: tuple[Path, ...]
  dropped: tuple[Path, ...]


def recognize(
  state: Mapping[str, np.ndarray],
  *,
  backbone: str | None = None,
  width: float | None = None,
  norm: str | None = None,
) -> Network:
  """Says what a state dict is for.

  Args:
    state: arrays by key.
    backbone: takes the place of what the keys say; so do `width` and `norm`,
      which is for checkpoints of MetaBIN only.

  Returns:
    The network; that every shape fits is not checked here.

  Raises:
    UserError: if the keys are of no known layout, or of no network of ours.
  """
  if any(key.startswith("heads.") for key in state):
    body = {
      key.removeprefix("backbone."): value
      for key, value in state.items()
      if key.startswith("backbone.")
    }
    mobile = "layer1.conv.weight" in body
    found = "mobilenetv2" if mobile else _resnet(body)
    return Network(
      METABIN,
      backbone or found,
      width or _width(body, found),
      norm or _official_norm(body),
    )
  for layout in layouts.LAYOUTS.values():
    if all(mark in state for mark in layout.marks):
      # A layout of MobileNetV2s has but one of ours.
      found = layout.backbones[0]
      if len(layout.backbones) > 1:
        found = _resnet(state)
      return Network(
        layout.name, backbone or found, width or _width(state, found), "bn"
      )
  some = ", ".join(list(state)[:3])
  raise UserError(
    f"the keys ({some}, ...) are of no known layout; known are checkpoints of "
    f"MetaBIN's own code and {', '.join(layouts.LAYOUTS)}."
  )


def read(state: Mapping[str, np.ndarray], network: Network) -> Weights:
  """Turns a state dict into arrays by our paths.

  Args:
    state: arrays by key.
    network: what it is for, from `recognize`.

  Returns:
    The weights, in the dtype they came in.

  Raises:
    UserError: lists keys that are missing, unknown, of another shape or not
      finite.
  """
  if network.layout == METABIN:
    variables = official.from_official(
      state, network.backbone, network.norm, width=network.width
    )
    arrays = matching.flatten(variables)
    classes = arrays["params", "classifier"].shape[1]
    return Weights(network, arrays, classes, ())
  layout = layouts.LAYOUTS[network.layout]
  if network.backbone not in layout.backbones:
    raise UserError(
      f"layout {layout.name} has no {network.backbone}; it has "
      f"{', '.join(layout.backbones)}."
    )
  shapes = matching.shapes(network.backbone, "bn", network.width)
  keys = {
    path: layout.key_of(path[2:]) for path in shapes if path[1] == "backbone"
  }
  matching.check(
    state,
    {
      key: matching.torch_shape(shapes[path], False)
      for path, key in keys.items()
    },
    {*layout.heads}
    | {
      matching.counter_key(key)
      for key in keys.values()
      if key.endswith("running_var")
    },
    f"{network.backbone} of width {network.width} in the layout {layout.name}",
  )
  return Weights(
    network,
    {
      path: matching.from_torch(np.asarray(state[key]))
      for path, key in keys.items()
    },
    0,
    tuple(key for key in layout.heads if key in state),
  )


def fill(
  variables: Mapping[str, Any],
  weights: Weights,
  norm: str,
  *,
  classifier: bool = False,
) -> Filled:
  """Puts weights into the variables of a network.

  Weights of an ordinary network start any arm: convolutions, and the affine map
  and running moments of a layer's batch norm if it has one of the same length.
  Where the arm is instance norm throughout ("in") its affine map gets that of
  the batch norm; elsewhere instance norms keep 1 and 0, and rho stays 1. The
  reference does the same; half layers ("bin_half") get nothing.

  Args:
    variables: of the network, freshly made.
    weights: from `read`.
    norm: arm of the network.
    classifier: also take the classifier, whose classes must be the network's.

  Returns:
    New variables, and what came from where.

  Raises:
    UserError: if the weights are for another backbone, or of an arm other than
      plain batch norm and the network's.
  """
  ordinary = weights.network.norm == "bn"
  if not ordinary and weights.network.norm != norm:
    raise UserError(
      f"the weights are of norm {weights.network.norm!r} and start no other "
      f"arm; set model.norm to it, which is {norm!r}."
    )
  arrays = weights.arrays
  if not classifier:
    arrays = {p: a for p, a in arrays.items() if p[1:] != ("classifier",)}
  leaves, taken, sources = {}, [], set()
  for path, leaf in matching.flatten(variables).items():
    source = path
    if source not in arrays and ordinary:
      source = (*path[:-1], _origin(path[-1], norm))
    found = arrays.get(source)
    if found is None or found.shape != leaf.shape:
      if path[-1] == "kernel" and path[1] == "backbone":
        raise UserError(_no_place(weights, path, leaf, found))
      leaves[path] = np.asarray(leaf)
      continue
    leaves[path] = found.astype(np.asarray(leaf).dtype)
    taken.append(path)
    sources.add(source)
  return Filled(
    matching.nest(leaves),
    tuple(taken),
    tuple(path for path in leaves if path not in set(taken)),
    tuple(path for path in weights.arrays if path not in sources),
  )


def _origin(name: str, norm: str) -> str:
  known = _FROM_BATCH_NORM | (_INSTANCE if norm == "in" else {})
  return known.get(name, name)


def _no_place(weights, path, leaf, found) -> str:
  have = "no such kernel" if found is None else f"one of shape {found.shape}"
  return (
    f"the weights are for {weights.network.backbone} of width "
    f"{weights.network.width} and do not fit this network: "
    f"{'.'.join(path[1:])} has shape {leaf.shape}, the weights have {have}."
  )


def _resnet(state: Mapping[str, np.ndarray]) -> str:
  counts = [
    len({found[1] for key in state if (found := re.match(pattern, key))})
    for pattern in (rf"layer{stage}\.(\d+)\." for stage in range(1, 5))
  ]
  form = tuple(counts), "layer1.0.conv3.weight" in state
  if form not in _DEPTHS:
    raise UserError(
      f"the weights are of a network with {counts} blocks in its layers, which "
      f"is none of {', '.join(_DEPTHS.values())}."
    )
  return _DEPTHS[form]


def _width(state: Mapping[str, np.ndarray], backbone: str) -> float:
  """The channel multiplier, by the channels of the convolutions' outputs."""
  kernels = [np.shape(array) for array in state.values() if np.ndim(array) == 4]
  if backbone.startswith("resnet"):
    stems = [shape[0] for shape in kernels if shape[2:] == (7, 7)]
    return stems[0] / 64 if stems else 1.0
  outputs = {shape[0] for shape in kernels}
  for width in _WIDTHS:
    body = mobilenet_v2.MobileNetV2(
      width=width, standard=backbone == "mobilenetv2_standard"
    )
    ends = [body.channels(stage[1]) for stage in mobilenet_v2.STAGES]
    if {*ends, body.feature_dim} <= outputs:
      return width
  raise UserError(
    f"the weights are for a {backbone} of none of the widths "
    f"{', '.join(map(str, _WIDTHS))}; say which it is."
  )


def _official_norm(body: Mapping[str, np.ndarray]) -> str:
  def count(end: str) -> int:
    return sum(key.endswith(end) for key in body)

  if count(".gate"):
    return "bin" if count(".bat_n.weight") else "bin_shared"
  if count(".bat_n.weight"):
    return "bin_half"
  # Convolutions have no bias, so each is that of a norm layer.
  if count(".running_mean") in (0, count(".bias")):
    return "bn" if count(".running_mean") else "in"
  return "dualnorm_metabin"
