"""Switchable normalization of batch and instance moments, arm `switchable`."""

from __future__ import annotations

import jax
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops import switchable

KINDS = ("in", "bn")


class SwitchableNorm(nn.Module):
  """Mixes the moments of instance and batch; the weights start equal.

  They are parameters like all others, learned at the common rate. Differs: the
  running variance starts at 1, as everywhere here; in the published code at 0.
  """

  # Read by evaluation/adabn.py: what the images' unbiased variances add up to.
  stores_unbiased_variance = False

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    channels = x.shape[-1]
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    mean_weights, var_weights = (
      self.param(name, nn.initializers.ones, (len(KINDS),))
      for name in ("mean_weights", "var_weights")
    )
    running = variables.Running(self, channels)
    y, moved = switchable.switchable_norm(
      x,
      scale,
      bias,
      mean_weights,
      var_weights,
      running.read(),
      kinds=KINDS,
      mode=mode,
    )
    running.write(moved, mode)
    return y


registry.register_norm("switchable", SwitchableNorm)
