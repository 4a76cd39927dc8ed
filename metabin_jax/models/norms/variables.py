"""The variables that norm layers share: affine maps, rho, running moments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.ops.moments import Moments


def affine(
  module: nn.Module, branch: str, channels: int
) -> tuple[jax.Array, jax.Array]:
  """Scale and bias of one branch, named after it; 1 and 0 at the start.

  Args:
    module: the layer, inside its compact call.
    branch: "bn", "in", ...; the parameters are <branch>_scale, <branch>_bias.
    channels: C.

  Returns:
    Two arrays [C].
  """
  scale = module.param(f"{branch}_scale", nn.initializers.ones, (channels,))
  bias = module.param(f"{branch}_bias", nn.initializers.zeros, (channels,))
  return scale, bias


def rho(module: nn.Module, channels: int) -> jax.Array:
  """The balancing parameters [C]: all batch norm at the start, as published."""
  return module.variable(
    "balance", "rho", jnp.ones, (channels,), jnp.float32
  ).value


class Running:
  """Running mean and variance of a layer, in the collection "batch_stats"."""

  def __init__(self, module: nn.Module, channels: int):
    """Declares the two variables, 0 and 1 at the start."""
    self._module = module
    self._mean = module.variable(
      "batch_stats", "mean", jnp.zeros, (channels,), jnp.float32
    )
    self._var = module.variable(
      "batch_stats", "var", jnp.ones, (channels,), jnp.float32
    )

  def read(self) -> Moments:
    """The statistics before this batch."""
    return Moments(self._mean.value, self._var.value)

  def write(self, moved: Moments, mode: str) -> None:
    """Keeps moved statistics; initialization must leave them as they are."""
    if mode == "update" and not self._module.is_initializing():
      self._mean.value, self._var.value = moved
