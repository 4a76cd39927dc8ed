"""Mining of pairs in a batch without labels: alike, and of one description."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metabin_jax.ops import distances, soft_multilabels

# Share of all pairs that is looked at, p.
RATIO = 0.005
# Share of a batch in the threshold.
MOMENTUM = 0.1


class Mined(NamedTuple):
  """The S most similar pairs of a batch, and the threshold that split them.

  Attributes:
    first: int32 [S], the smaller index of each pair, nearest pair first.
    second: int32 [S].
    positive: bool [S], whether the multilabels agree by more than `threshold`;
      if not, the pair is a hard negative.
    threshold: the agreement above which a pair counts, after this batch.
  """

  first: jax.Array
  second: jax.Array
  positive: jax.Array
  threshold: jax.Array


def count_mined(num_images: int, ratio: float) -> int:
  """S, the pairs that are mined among so many images: int(p n (n - 1) / 2)."""
  return int(num_images * (num_images - 1) // 2 * ratio)


def mine(
  features: jax.Array,
  multilabels: jax.Array,
  threshold: jax.Array,
  *,
  ratio: float = RATIO,
  momentum: float = MOMENTUM,
) -> Mined:
  """Splits the most similar pairs of a batch by the agreement of their labels.

  Args:
    features: [B, D]; nothing is differentiated here.
    multilabels: [B, K], of the memory.
    threshold: scalar T before this batch.
    ratio: p, share of all B (B - 1) / 2 pairs that is mined.
    momentum: share of this batch in the threshold: T moves towards the
      S-th largest agreement of the batch, after it has been used.

  Returns:
    The pairs; none where `ratio` gives none. The threshold then follows the
    largest agreement.

  Raises:
    ValueError: for fewer than two images.

  Source: MAR (CVPR 2019), Eqs. 4 and 5; sizes and threshold as in its code.
  Differs: where S is 0, the code moves the threshold by the smallest agreement
    (an index of -0).
  """
  size = features.shape[0]
  if size < 2:
    raise ValueError(f"features are {features.shape}: there is no pair.")
  features, multilabels = jax.lax.stop_gradient((features, multilabels))
  # Row by row: (0, 1), (0, 2), ..., which is also the order of ties.
  rows, columns = jnp.triu_indices(size, 1)
  distance = distances.pairwise_squared_euclidean(features, features)
  agreement = soft_multilabels.pairwise_agreement(multilabels, multilabels)
  distance, agreement = distance[rows, columns], agreement[rows, columns]
  count = count_mined(size, ratio)
  _, nearest = jax.lax.top_k(-distance, count)
  highest, _ = jax.lax.top_k(agreement, max(count, 1))
  return Mined(
    rows[nearest],
    columns[nearest],
    agreement[nearest] > threshold,
    (1 - momentum) * threshold + momentum * highest[-1],
  )


def discriminative(features: jax.Array, mined: Mined) -> jax.Array:
  """Positive pairs nearer than hard negative ones: -log(P / (P + N)).

  P and N are the means of exp(-|f_i - f_j|^2) over the pairs of each kind.

  Args:
    features: [B, D] of `soft_multilabels.project`.
    mined: from `mine`.

  Returns:
    Scalar. Without positive pairs log(1 + N); without negative ones N is 0.5.

  Source: MAR, Eq. 6; the rules for missing pairs are those of its code.
  """
  gap = features[mined.first] - features[mined.second]
  alike = jnp.exp(-jnp.sum(jnp.square(gap), axis=1))
  positive = _mean(alike, mined.positive, 1.0)
  negative = _mean(alike, ~mined.positive, 0.5)
  return jnp.log(positive + negative) - jnp.log(positive)


def _mean(values, mask, otherwise):
  """Mean of the masked values; a constant where there is none."""
  count = jnp.sum(mask)
  total = jnp.sum(jnp.where(mask, values, 0.0))
  return jnp.where(count > 0, total / jnp.maximum(count, 1), otherwise)
