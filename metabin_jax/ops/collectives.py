"""The whole batch, where a batch is split over devices.

Moments, mining, losses and gradients are those of the whole batch. Under
`jax.jit` arrays are whole, whatever devices they lie on, and the functions here
do nothing. Under `jax.shard_map` or `jax.pmap` each device sees its own rows;
whoever maps then names the mapped axis by one of the two names below, and the
functions talk to the other devices. The name is the only thing to be said: no
layer, loss or step takes it as an argument.

The rule that makes derivatives of any order exact under all three: losses end
in `mean`, gradients pass through `mean` (`value_and_grad`), and features go
through `gather` before anything compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")

# Batch norm by the moments of the whole batch.
BATCH = "batch"
# Batch norm by the moments of each device's rows; all else as under BATCH.
BATCH_DEVICE_MOMENTS = "batch_device_moments"


def axis() -> str | None:
  """The name that is bound where this is traced; None if arrays are whole."""
  for name in (BATCH, BATCH_DEVICE_MOMENTS):
    if _is_bound(name):
      return name
  return None


def moments_axis() -> str | None:
  """The axis that moments to normalize by are taken over, or None."""
  return BATCH if _is_bound(BATCH) else None


def num_devices() -> int:
  """How many devices share the batch; 1 if arrays are whole."""
  name = axis()
  return 1 if name is None else jax.lax.axis_size(name)


def mean(tree: Tree) -> Tree:
  """The mean over the devices; the tree itself if arrays are whole."""
  name = axis()
  return tree if name is None else jax.lax.pmean(tree, name)


def gather(tree: Tree) -> Tree:
  """The rows of all devices in their order; the tree itself if it is whole.

  Args:
    tree: arrays [B, ...], this device's rows; scalars in it stay.

  Returns:
    Arrays [devices * B, ...]. Derivatives flow back to every device's rows.
  """
  name = axis()
  if name is None:
    return tree

  def collect(rows):
    return jax.lax.all_gather(rows, name, tiled=True) if rows.ndim else rows

  return jax.tree.map(lambda rows: collect(jnp.asarray(rows)), tree)


def value_and_grad(
  loss: Callable[..., tuple[jax.Array, Any]],
  argnums: int | tuple[int, ...] = 0,
) -> Callable[..., tuple[tuple[jax.Array, Any], Any]]:
  """`jax.value_and_grad` of a loss of the whole batch, with `has_aux`.

  Args:
    loss: (values, ...) -> (loss, aux); the loss has come out of `mean`.
    argnums: arguments to differentiate by, equal on all devices.

  Returns:
    (values, ...) -> ((loss, aux), gradient), the loss and its gradient equal
    on all devices, and differentiable again. `aux` is as `loss` gave it.
  """
  differentiate = jax.value_and_grad(loss, argnums, has_aux=True)

  def run(*args):
    value, gradient = differentiate(*args)
    return value, mean(gradient)

  return run


def _is_bound(name: str) -> bool:
  try:
    jax.lax.axis_size(name)
  except NameError:
    return False
  return True
