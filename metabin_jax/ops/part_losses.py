"""The losses of BNTA over the horizontal parts of a body.

Parts are numbered from 0 at the head to P - 1 at the feet. Scalars come back in
float32 or wider.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

MARGIN = 0.3
# Over the parts of an image, or over the pairs of a batch.
REDUCTIONS = ("sum", "mean")


def position(
  logits: jax.Array,
  *,
  reduction: str = "sum",
  weights: jax.Array | None = None,
) -> jax.Array:
  """Part positioning: every part should be recognized as itself.

  Args:
    logits: [B, P, P]: of part h of image b, to be any of the P parts.
    reduction: over the parts of an image: "sum", as the equation stands, or
      "mean", which is P times smaller.
    weights: [B, P], which parts count; None for all.

  Returns:
    Scalar, mean over images of -sum_h log softmax(logits_h)_h.

  Raises:
    ValueError: for other shapes or another reduction.

  Source: BNTA (AAAI 2022), Eq. 5.
  """
  if logits.ndim != 3 or logits.shape[1] != logits.shape[2]:
    raise ValueError(f"logits have shape {logits.shape}, want [B, P, P].")
  own = jnp.diagonal(_log_softmax(logits), axis1=1, axis2=2)
  if weights is not None:
    own = own * weights
  return -jnp.mean(_reduce(own, reduction, axis=1))


def match_identity(
  logits: jax.Array, labels: jax.Array, *, reduction: str = "sum"
) -> jax.Array:
  """Part matching in training: every part should name the person.

  Args:
    logits: [B, P, K]: of part h of image b, by a classifier of this part.
    labels: [B] class indices in [0, K).
    reduction: over the parts of an image, as in `position`.

  Returns:
    Scalar, mean over images of -sum_h log softmax(logits_h)_label.

  Raises:
    ValueError: for other shapes or another reduction.

  Source: BNTA (AAAI 2022), Eq. 7.
  """
  if logits.ndim != 3 or labels.shape != logits.shape[:1]:
    raise ValueError(
      f"logits are {logits.shape} and labels {labels.shape}, want [B, P, K] "
      "and [B]."
    )
  true = jnp.take_along_axis(
    _log_softmax(logits), labels[:, None, None], axis=2
  )[:, :, 0]
  return -jnp.mean(_reduce(true, reduction, axis=1))


def match_pairs(
  features: jax.Array,
  pairs: jax.Array,
  parts: jax.Array,
  *,
  margin: float = MARGIN,
  reduction: str = "mean",
  symmetric: bool = False,
) -> jax.Array:
  """Part matching without labels: paired parts nearer than any other image's.

  max(0, margin + d(a, p) - min_q d(a, q)) for a pair (a, p) with part n, where
  d is the Euclidean distance of their n-th parts and q any image of the batch
  but a and p.

  Args:
    features: [B, P, C] features of every part.
    pairs: [K, 2] rows (anchor, positive).
    parts: [K] the part n of each pair.
    margin: at least 0.
    reduction: over the pairs: "mean", or "sum" as the equation stands.
    symmetric: also with the positive as anchor.

  Returns:
    Scalar. A pair without any other image in the batch contributes 0. A
    distance of zero has the gradient 0, and where several images are equally
    near the first has all of it.

  Raises:
    ValueError: for other shapes or another reduction.

  Source: BNTA (AAAI 2022), Eq. 8.
  """
  if features.ndim != 3 or pairs.ndim != 2 or parts.shape != pairs.shape[:1]:
    raise ValueError(
      f"features are {features.shape}, pairs {pairs.shape}, parts "
      f"{parts.shape}; want [B, P, C], [K, 2], [K]."
    )
  features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
  if symmetric:
    pairs = jnp.concatenate([pairs, pairs[:, ::-1]])
    parts = jnp.concatenate([parts, parts])
  anchors, positives = pairs[:, 0], pairs[:, 1]
  # [K, B, C]: the part of each pair, of every image.
  candidates = jnp.swapaxes(features[:, parts], 0, 1)
  own = features[anchors, parts]
  squared = jnp.sum(jnp.square(candidates - own[:, None]), axis=-1)
  rows = jnp.arange(features.shape[0])[None, :]
  other = (rows != anchors[:, None]) & (rows != positives[:, None])
  nearest = jnp.argmin(jnp.where(other, squared, jnp.inf), axis=1)
  found = jnp.any(other, axis=1)
  positive, negative = (
    _length(jnp.take_along_axis(squared, row[:, None], axis=1)[:, 0])
    for row in (positives, nearest)
  )
  hinge = jax.nn.relu(margin + positive - negative)
  return _reduce(jnp.where(found, hinge, 0.0), reduction, axis=0)


def _length(squared):
  """Square root; exactly 0 with gradient 0 where there is no distance."""
  empty = squared == 0
  return jnp.where(empty, 0.0, jnp.sqrt(jnp.where(empty, 1.0, squared)))


def _log_softmax(logits):
  wide = jnp.promote_types(logits.dtype, jnp.float32)
  return jax.nn.log_softmax(logits.astype(wide), axis=-1)


def _reduce(values, reduction, axis):
  if reduction not in REDUCTIONS:
    raise ValueError(f"reduction is {reduction!r}, want one of {REDUCTIONS}.")
  return (jnp.sum if reduction == "sum" else jnp.mean)(values, axis=axis)
