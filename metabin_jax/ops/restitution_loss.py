"""The loss of style normalization and restitution (SNR).

What is given back (F+) must tell persons apart better than the normalized map,
what is left out (F-) worse. With cosine distances d of pooled maps, and marks
+ and - for those of F+ and F-, the loss of an anchor a is

  softplus(d(a+, p+) - d(a, p)) + softplus(d(a, n) - d(a+, n+))
  + softplus(d(a, p) - d(a-, p-)) + softplus(d(a-, n-) - d(a, n)).

The unmarked distances, of the normalized map, are zero: its mean over the
pixels is the bias of the instance norm, the same vector for every image. They
are left out, as computing them could give rounding noise only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metabin_jax.ops import distances


class Pooled(NamedTuple):
  """Means over the pixels at one place of the network."""

  given: jax.Array  # [B, C] of F
  restored: jax.Array  # [B, C] of F+
  contaminated: jax.Array  # [B, C] of F-
  weight: float  # of this place in the loss


def restitution_loss(pooled: Any, pids: jax.Array) -> jax.Array:
  """Weighted sum over all places of the mean over the anchors.

  Each anchor is compared with the farthest image of its person and the nearest
  one of another person, by the pooled F.

  Args:
    pooled: any tree of `Pooled`.
    pids: [B] identity of each row.

  Returns:
    Scalar. Anchors without another image of their person, or without another
    person, contribute 0.

  Raises:
    ValueError: if there is no `Pooled`.

  Source: Jin et al. (arXiv:2005.11037), Eqs. 5 and 6, from memory. Which
    triplets are compared is our choice.
  """
  places = [
    node
    for node in jax.tree.leaves(pooled, is_leaf=_is_pooled)
    if _is_pooled(node)
  ]
  if not places:
    raise ValueError(
      "the loss 'snr' found no restitution layers; use norm 'snr'."
    )
  terms = [place.weight * _at_one_place(place, pids) for place in places]
  return jnp.sum(jnp.stack(terms))


def cosine_distances(features: jax.Array) -> jax.Array:
  """(1 - cos) / 2 between all rows of [B, D]: [B, B], in [0, 1]."""
  unit = distances.l2_normalize(features, 0.0)
  # HIGHEST: neighbours must not be chosen among rounded cosines.
  cosine = jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST)
  return 0.5 - 0.5 * cosine


def _at_one_place(place, pids):
  same = pids[:, None] == pids[None, :]
  others = same & ~jnp.eye(pids.shape[0], dtype=bool)
  given = cosine_distances(place.given)
  positive = jnp.argmax(jnp.where(others, given, -jnp.inf), axis=1)
  negative = jnp.argmin(jnp.where(same, jnp.inf, given), axis=1)
  restored = cosine_distances(place.restored)
  contaminated = cosine_distances(place.contaminated)
  loss = (
    jax.nn.softplus(_pick(restored, positive))
    + jax.nn.softplus(-_pick(restored, negative))
    + jax.nn.softplus(-_pick(contaminated, positive))
    + jax.nn.softplus(_pick(contaminated, negative))
  )
  found = jnp.any(others, axis=1) & jnp.any(~same, axis=1)
  return jnp.mean(jnp.where(found, loss, 0.0))


def _pick(distance, index):
  return jnp.take_along_axis(distance, index[:, None], axis=1)[:, 0]


def _is_pooled(node):
  return isinstance(node, Pooled)
