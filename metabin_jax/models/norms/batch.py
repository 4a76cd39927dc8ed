"""Batch normalization, arm `bn`."""

from __future__ import annotations

import jax
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops import normalization


class BatchNorm(nn.Module):
  """Batch normalization; also the neck of every network."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    scale, bias = variables.affine(self, "bn", x.shape[-1])
    running = variables.Running(self, x.shape[-1])
    y, moved = normalization.batch_norm(
      x, scale, bias, running.read(), mode=mode
    )
    running.write(moved, mode)
    return y


registry.register_norm("bn", BatchNorm)
