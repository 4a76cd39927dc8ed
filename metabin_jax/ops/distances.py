"""Pairwise distances that stay exact for near-equal rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Squared distances below this are treated as constant (reference: utils.py).
MIN_SQUARED = 1e-12


def safe_sqrt(x: jax.Array, minimum: float = MIN_SQUARED) -> jax.Array:
  """Square root whose derivatives of every order are finite.

  Args:
    x: any shape, non-negative up to rounding.
    minimum: values at or below it give sqrt(minimum) and zero gradient. NaN
      stays NaN.

  Returns:
    sqrt(max(x, minimum)), the shape of x.
  """
  # Not `x > minimum`: a NaN must not turn into an ordinary distance.
  return jnp.sqrt(jnp.where(x <= minimum, minimum, x))


def pairwise_squared_euclidean(a: jax.Array, b: jax.Array) -> jax.Array:
  """Squared Euclidean distances between the rows of a and of b.

  Subtracts before squaring: |a|^2 + |b|^2 - 2ab would cancel for near-equal
  rows, and a matrix product could drop to bfloat16 or TF32. XLA fuses the
  subtraction into the reduction, so no [N, M, D] array is stored.

  Args:
    a: [N, D].
    b: [M, D].

  Returns:
    [N, M], float32 or wider.

  Raises:
    ValueError: if the rows differ in length.
  """
  if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
    raise ValueError(f"a is {a.shape} and b {b.shape}, want [N, D] and [M, D].")
  wide = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
  difference = a.astype(wide)[:, None, :] - b.astype(wide)[None, :, :]
  return jnp.sum(jnp.square(difference), axis=-1)


def pairwise_euclidean(a: jax.Array, b: jax.Array) -> jax.Array:
  """Euclidean distances, sqrt(max(|a_i - b_j|^2, 1e-12)).

  Args:
    a: [N, D].
    b: [M, D].

  Returns:
    [N, M] distances, at least 1e-6; the gradient of a pair at the bound is 0.

  Source: reference fastreid/modeling/losses/utils.py, `euclidean_dist`.
  Differs: exact for near-equal rows, where the reference returns rounding
    noise; pinned by distances_test.py.
  """
  return safe_sqrt(pairwise_squared_euclidean(a, b))


def l2_normalize(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
  """Rows divided by their length plus `epsilon`.

  Rows shorter than 1e-12 become zero, and their derivatives of every order are
  zero too: a direction that is not there must not steer anything.

  Args:
    x: [N, D].
    epsilon: added to the length.

  Returns:
    [N, D], float32 or wider.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  empty = squared <= 1e-24
  length = jnp.sqrt(jnp.where(empty, 1.0, squared))
  return jnp.where(empty, 0.0, x / (length + epsilon))
