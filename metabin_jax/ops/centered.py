"""Variance about a mean, and affine maps about one, at the least cost.

Both forms below are identities in a constant s for which the value of a mean is
taken. So their derivatives of every order are those of the plain formulas; but
autodiff, which does not follow s, no longer sums over a map what is known to be
zero, or known already: a backward pass reads x once less for each. The small
terms in which s is corrected for are zero in value and cost [N, C].

Checkpointed: the backward pass computes x - s again and does not keep it.
Measured in experiments/benchmarks.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def variance(x: jax.Array, mean: jax.Array) -> jax.Array:
  """Biased variance of every map, E (x - s)^2 - (E x - s)^2 at s = mean.

  Args:
    x: [..., H, W, C] activations, float32 or wider.
    mean: [..., 1, 1, C] means of the maps of x; nothing else will do.

  Returns:
    [..., 1, 1, C].
  """
  # Else XLA's CPU compiler sees that `affine` wants the same x - s, and writes
  # it to memory.
  center = jax.lax.optimization_barrier(jax.lax.stop_gradient(mean))
  return _square_mean(x, center) - jnp.square(mean - center)


def affine(
  x: jax.Array, center: jax.Array, gain: jax.Array, bias: jax.Array
) -> jax.Array:
  """(x - center) gain + bias as (x - s) gain + bias - (center - s) gain.

  Args:
    x: [..., H, W, C] activations.
    center: [C] or [..., 1, 1, C], as are the other two.
    gain: factor.
    bias: summand.

  Returns:
    y, of the shape and dtype of x; computed in float32 or wider.
  """
  center, gain, bias = (align(v, x) for v in (center, gain, bias))
  constant = jax.lax.stop_gradient(center)
  return _affine(x, constant, gain, bias - (center - constant) * gain)


def align(v: jax.Array, x: jax.Array) -> jax.Array:
  """Views v so that it broadcasts against x under strict rank promotion."""
  return v.reshape((1,) * (x.ndim - v.ndim) + v.shape)


@jax.checkpoint
def _square_mean(x, center):
  return jnp.mean(jnp.square(x - center), axis=(-3, -2), keepdims=True)


@jax.checkpoint
def _affine(x, center, gain, bias):
  wide = jnp.promote_types(x.dtype, jnp.float32)
  center, gain, bias = (v.astype(wide) for v in (center, gain, bias))
  return ((x.astype(wide) - center) * gain + bias).astype(x.dtype)
