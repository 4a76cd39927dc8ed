"""Soft multilabels: a person without a label, described by those with one.

The persons of a labelled set become reference agents, unit vectors. An image
without a label is described by how likely each agent is, and two images may
show the same person if these descriptions agree.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Factor of the cosines inside the softmax.
SCALE = 30.0
_SHORT = 1e-5
_EPSILON = 1e-7


def project(x: jax.Array) -> jax.Array:
  """Rows of length one.

  x / (|x| + 1e-7); rows shorter than 1e-5 are multiplied by 1e5 instead, so
  that a zero row stays zero with finite derivatives.

  Args:
    x: [N, D].

  Returns:
    [N, D], float32 or wider.

  Source: MAR's code, `renorm(2, 0, 1e-5).mul(1e5)`.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  squared = jnp.sum(jnp.square(x), axis=1, keepdims=True)
  short = squared <= _SHORT**2
  length = jnp.sqrt(jnp.where(short, 1.0, squared))
  return jnp.where(short, x / _SHORT, x / (length + _EPSILON))


def similarity(features: jax.Array, agents: jax.Array) -> jax.Array:
  """Cosines of features and agents.

  Args:
    features: [N, D] of `project`.
    agents: [K, D] of `project`.

  Returns:
    [N, K] in [-1, 1].
  """
  # HIGHEST: thirty times a cosine leaves no room for bfloat16 or TF32.
  return jnp.matmul(features, agents.T, precision=jax.lax.Precision.HIGHEST)


def log_multilabels(cosines: jax.Array, scale: float = SCALE) -> jax.Array:
  """Logarithm of the soft multilabels, log softmax_k(scale cos_k).

  Args:
    cosines: [N, K] of `similarity`.
    scale: above 0.

  Returns:
    [N, K]; the exponentials of a row sum to 1.

  Source: MAR (CVPR 2019), Eq. 1; the scale is that of its code.
  """
  return jax.nn.log_softmax(scale * cosines, axis=1)


def pairwise_agreement(a: jax.Array, b: jax.Array) -> jax.Array:
  """Agreement of soft multilabels, sum_k min(a_k, b_k) = 1 - |a - b|_1 / 2.

  Args:
    a: [N, K], rows that sum to 1.
    b: [M, K] likewise.

  Returns:
    [N, M] in [0, 1]. XLA fuses the minimum into the sum, so no [N, M, K] array
    is stored.

  Raises:
    ValueError: if the rows differ in length.

  Source: MAR, Eq. 3.
  """
  if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
    raise ValueError(f"a is {a.shape} and b {b.shape}, want [N, K] and [M, K].")
  return jnp.sum(jnp.minimum(a[:, None, :], b[None, :, :]), axis=-1)


def remember(
  memory: jax.Array,
  seen: jax.Array,
  index: jax.Array,
  multilabels: jax.Array,
  *,
  momentum: float = 0.9,
  active: jax.Array | bool = True,
) -> tuple[jax.Array, jax.Array]:
  """Writes multilabels into the memory: the first as it is, later ones mixed.

  Args:
    memory: [N, K], a row for each image.
    seen: bool [N], which rows have been written.
    index: int [B], rows of the batch's images, none twice.
    multilabels: [B, K].
    momentum: share of the old row, in [0, 1).
    active: whether to write at all; may be traced.

  Returns:
    (memory, seen) with these rows written, or as they were.

  Source: MAR's code, `multilabel_memory`.
  """
  old, known = memory[index], seen[index]
  mixed = momentum * old + (1 - momentum) * multilabels
  new = jnp.where(known[:, None], mixed, multilabels)
  # Rows, not the whole: a donated memory is written in place.
  memory = memory.at[index].set(jnp.where(active, new, old))
  return memory, seen.at[index].set(known | active)
