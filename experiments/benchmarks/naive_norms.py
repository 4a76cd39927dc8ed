"""MetaBIN's layer as the textbook writes it, to measure ours against.

`register` adds it as the norm arm `bin_naive`: batch norm and instance norm
each by itself, with their own passes over the map, then the mixture;
derivatives as autodiff makes them, nothing recomputed. Parameters and numbers
are those of `bin`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import variables
from metabin_jax.ops.moments import Moments, update_running
from metabin_jax.ops.normalization import EPSILON


def register() -> None:
  """Makes `bin_naive` known."""
  registry.register_norm("bin_naive", NaiveBatchInstanceNorm, balanced=True)


class NaiveBatchInstanceNorm(nn.Module):
  """rho BN(x) + (1 - rho) IN(x), four maps of the size of x."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [B, H, W, C]; `mode` as in ops/normalization.py."""
    channels = x.shape[-1]
    rho = _row(variables.rho(self, channels))
    bn = variables.affine(self, "bn", channels)
    instance = variables.affine(self, "in", channels)
    running = variables.Running(self, channels)
    before = running.read()
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    batch = before if mode == "eval" else Moments(*_moments(wide, (0, 1, 2)))
    of_batch = _normalize(wide, *batch, *bn)
    of_images = _normalize(wide, *_moments(wide, (1, 2)), *instance)
    if mode == "update":
      constants = Moments(*map(jax.lax.stop_gradient, batch))
      running.write(update_running(before, constants, x.size // channels), mode)
    return (rho * of_batch + (1 - rho) * of_images).astype(x.dtype)


def _moments(x, axes):
  keep = len(axes) == 2
  return jnp.mean(x, axes, keepdims=keep), jnp.var(x, axes, keepdims=keep)


def _normalize(x, mean, var, scale, bias):
  normal = (x - _row(mean)) * jax.lax.rsqrt(_row(var) + EPSILON)
  return _row(scale) * normal + _row(bias)


def _row(v):
  """[C] as [1, 1, 1, C]; maps stay."""
  return v.reshape(1, 1, 1, -1) if v.ndim == 1 else v
