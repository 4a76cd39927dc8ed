"""MetaBIN's layer, arm `bin`."""

from __future__ import annotations

import jax
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops import normalization


class BatchInstanceNorm(nn.Module):
  """Batch and instance norm, an affine map for each, rho between them."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    channels = x.shape[-1]
    rho = variables.rho(self, channels)
    bn = variables.affine(self, "bn", channels)
    instance = variables.affine(self, "in", channels)
    running = variables.Running(self, channels)
    y, moved = normalization.bin_apply(
      x, rho, *bn, *instance, running.read(), mode=mode
    )
    running.write(moved, mode)
    return y


registry.register_norm("bin", BatchInstanceNorm, balanced=True)
