"""Average query expansion: ask again with the mean of the best answers."""

from __future__ import annotations

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation.exact_distances import make_distances
from metabin_jax.evaluation.neighbours import smallest

_BLOCK_BYTES = 2**26
_NORM_EPSILON = 1e-12


def expand_queries(
  query: np.ndarray,
  gallery: np.ndarray,
  k: int,
  *,
  block: int | None = None,
) -> np.ndarray:
  """Replaces every query by the mean of itself and its nearest gallery images.

  No label is used: the neighbours are taken from the whole gallery, with
  distractors and with images from the query's own camera. Which of those do
  not count as answers depends on who they show, and that is what is asked.

  Args:
    query: [Q, D] embeddings, any real dtype, finite.
    gallery: [G, D] embeddings.
    k: neighbours, 1 to G, nearest by cosine; ties go by index.
    block: queries per block; None chooses about 64 MiB of distances. The
      result does not depend on it.

  Returns:
    float32 [Q, D] of norm 1: q + g1 + ... + gk, each scaled to norm 1 before
    and the sum after. A sum of zero stays zero.

  Raises:
    UserError: if `k` exceeds the gallery, or an embedding is not finite.
    ValueError: if `k` is below 1 or shapes disagree.

  Source: Chum et al., Total Recall, ICCV 2007, average query expansion.
  """
  query, gallery = np.asarray(query), np.asarray(gallery)
  if k < 1:
    raise ValueError(f"k is {k}; a query is expanded by at least 1 neighbour.")
  if k > len(gallery):
    raise UserError(
      f"query expansion by {k} images needs as many in the gallery, which has "
      f"{len(gallery)}; lower eval.query_expansion, or set it to 0."
    )
  distances = make_distances(query, gallery, "cosine")
  block = max(1, block or _BLOCK_BYTES // (8 * len(gallery)))
  expanded = np.empty(query.shape, np.float32)
  for start in range(0, len(query), block):
    stop = min(start + block, len(query))
    for row, values in enumerate(distances(start, stop), start):
      nearest = gallery[smallest(values, k)]
      total = _unit(query[row : row + 1])[0] + _unit(nearest).sum(axis=0)
      expanded[row] = _unit(total[None])[0]
  return expanded


def _unit(rows: np.ndarray) -> np.ndarray:
  """Float64 rows of norm 1."""
  wide = rows.astype(np.float64)
  norms = np.linalg.norm(wide, axis=1, keepdims=True)
  return wide / np.maximum(norms, _NORM_EPSILON)
