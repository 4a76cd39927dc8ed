"""Half batch norm, half instance norm, arm `bin_half`."""

from __future__ import annotations

import jax
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops import normalization


class HalfNorm(nn.Module):
  """Batch norm on the first half of the channels, instance norm on the rest.

  Needs at least 2 channels.
  """

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    half = -(-x.shape[-1] // 2)
    bn = variables.affine(self, "bn", half)
    instance = variables.affine(self, "in", x.shape[-1] - half)
    running = variables.Running(self, half)
    y, moved = normalization.bin_half_apply(
      x, *bn, *instance, running.read(), mode=mode
    )
    running.write(moved, mode)
    return y


registry.register_norm("bin_half", HalfNorm)
