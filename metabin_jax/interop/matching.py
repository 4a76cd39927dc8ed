"""Every key of a weight file accounted for, and every array in our order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax import models
from metabin_jax.errors import UserError

COLLECTIONS = ("params", "balance", "batch_stats")
# Names of a variable below the network: (collection, module, ..., array).
Path = tuple[str, ...]
_SHOWN = 5


def shapes(
  backbone: str, norm: str, width: float, num_classes: int = 1
) -> dict[Path, tuple[int, ...]]:
  """Our variables by path, with their shapes; nothing is computed.

  Args:
    backbone: name for `models.create`.
    norm: arm.
    width: channel multiplier.
    num_classes: of the classifier.

  Returns:
    Shapes by (collection, module, ..., array).

  Raises:
    UserError: for a backbone, arm or width that does not exist.
  """
  try:
    network = models.create(
      backbone, norm=norm, num_classes=num_classes, width=width
    )
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    variables = jax.eval_shape(
      lambda x: network.init(jax.random.key(0), x, mode="hold"), images
    )
  except ValueError as error:
    raise UserError(str(error)) from error
  ours = {name: variables.get(name, {}) for name in COLLECTIONS}
  return {path: leaf.shape for path, leaf in flatten(ours).items()}


def flatten(variables: Mapping[str, Any]) -> dict[Path, Any]:
  """Nested dicts to leaves by path."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return {tuple(entry.key for entry in path): leaf for path, leaf in leaves}


def nest(leaves: Mapping[Path, Any]) -> dict[str, Any]:
  """Leaves by path to {"params", "balance", "batch_stats"}, nested dicts."""
  variables: dict[str, Any] = {name: {} for name in COLLECTIONS}
  for path, leaf in leaves.items():
    node = variables
    for part in path[:-1]:
      node = node.setdefault(part, {})
    node[path[-1]] = leaf
  return variables


def check(
  state: Mapping[str, np.ndarray],
  wanted: Mapping[str, tuple[int, ...]],
  optional: Collection[str],
  what: str,
  wrong: Collection[str] = (),
) -> None:
  """Refuses weights with a key too few, too many or of another shape.

  Args:
    state: arrays by key.
    wanted: shape of every key that has to be there, in PyTorch's order.
    optional: keys that may be there.
    what: the network, for the message.
    wrong: further findings, as the message shall list them.

  Raises:
    UserError: lists what is missing, unknown, of another shape or not finite.
  """
  missing = sorted(set(wanted) - set(state))
  extra = sorted(set(state) - set(wanted) - set(optional))
  found = {key: np.asarray(state[key]) for key in wanted if key in state}
  differing = [
    f"{key} is {array.shape}, want {wanted[key]}"
    for key, array in found.items()
    if array.shape != wanted[key]
  ]
  differing += [
    f"{key} is not finite"
    for key, array in sorted(found.items())
    if not np.isfinite(array).all()
  ]
  differing += wrong
  if missing or extra or differing:
    raise UserError(
      f"the weights do not fit {what}: {_count(missing, 'missing')}; "
      f"{_count(extra, 'unknown')}; "
      f"{_count(differing, 'of another shape or value')}."
    )


def counter_key(running_var_key: str) -> str:
  """Key of PyTorch's batch counter beside a running variance; none reads it."""
  return running_var_key.removesuffix("running_var") + "num_batches_tracked"


def torch_shape(shape: tuple[int, ...], is_matrix: bool) -> tuple[int, ...]:
  """Our shape in PyTorch's order: kernels [O, I, kh, kw], matrices [O, I]."""
  if len(shape) == 4:
    return (shape[3], shape[2], shape[0], shape[1])
  return shape[::-1] if is_matrix else shape


def from_torch(array: np.ndarray) -> np.ndarray:
  """PyTorch's order to ours: kernels [kh, kw, I, O], matrices [I, O]."""
  if array.ndim == 4:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
  return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def to_torch(array: np.ndarray) -> np.ndarray:
  """The inverse of `from_torch`."""
  if array.ndim == 4:
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1))
  return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def _count(items, what):
  if not items:
    return f"none {what}"
  shown = ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")
  return f"{len(items)} {what} ({shown})"
