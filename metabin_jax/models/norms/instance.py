"""Instance normalization, arm `in`."""

from __future__ import annotations

import jax
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops import normalization


class InstanceNorm(nn.Module):
  """Instance normalization with an affine map, without running statistics."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; every mode does the same."""
    normalization.check_mode(mode)
    return normalization.instance_norm(
      x, *variables.affine(self, "in", x.shape[-1])
    )


registry.register_norm("in", InstanceNorm)
