"""Nam and Kim's layer, arm `bin_shared`."""

from __future__ import annotations

import jax
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops import normalization


class SharedBatchInstanceNorm(nn.Module):
  """Batch-instance norm with one affine map for both branches."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    channels = x.shape[-1]
    rho = variables.rho(self, channels)
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    running = variables.Running(self, channels)
    y, moved = normalization.bin_shared_apply(
      x, rho, scale, bias, running.read(), mode=mode
    )
    running.write(moved, mode)
    return y


registry.register_norm("bin_shared", SharedBatchInstanceNorm, balanced=True)
