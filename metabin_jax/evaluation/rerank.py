"""k-reciprocal re-ranking, in memory that grows with N and not with N x N.

Two images that have each other among their nearest images are more likely to
show the same person. Every image gets weights over the images with which it
shares that relation; images with similar weights are near each other in the
Jaccard distance, which is mixed with the original one.

The rule looks at all queries and the whole gallery together (N images), and at
no label. Only the lists of neighbours and the weights, both sparse, are kept;
distances are made for a few queries at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation import points as grid
from metabin_jax.evaluation.exact_distances import check_request
from metabin_jax.evaluation.neighbours import find_neighbours

_ROWS = 1024


def make_reranked_distances(
  query: np.ndarray,
  gallery: np.ndarray,
  metric: str = "cosine",
  *,
  k1: int = 20,
  k2: int = 6,
  original_share: float = 0.3,
  block: int | None = None,
) -> Callable[[int, int], np.ndarray]:
  """Prepares `distances(start, stop) -> [stop - start, G]` for those queries.

  With d the squared Euclidean distance of two images divided by the largest
  distance of the first one, N(i, k) the k + 1 nearest images of i (i is its
  own first; ties go by index) and h half of k1, rounded to even:

    R(i, k) = {j in N(i, k): i in N(j, k)}
    R*(i)   = R(i, k1), and every R(j, h) of a j in R(i, k1) of which more than
              two thirds lie in R(i, k1)
    w(i, j) = exp(-d(i, j)) for j in R*(i), else 0; scaled to sum 1 over j
    v(i)    = mean of w over the k2 nearest images of i, itself among them
    J(i, j) = 1 - sum min(v(i), v(j)) / sum max(v(i), v(j))
    result  = original_share * d + (1 - original_share) * J

  Args:
    query: [Q, D] embeddings, any real dtype, finite.
    gallery: [G, D] embeddings.
    metric: "cosine": d of the embeddings scaled to norm 1. "euclidean": d of
      the embeddings as they are.
    k1: neighbours in a list, at least 1 and below Q + G.
    k2: images that a weight is averaged over, 1 to Q + G; 1 averages none.
    original_share: lambda, in [0, 1]; 1 keeps the order of the original
      distances.
    block: images per block of the search; None chooses. The result does not
      depend on it.

  Returns:
    A function that makes float64 distances in [0, 1] for a range of queries.

  Raises:
    UserError: if an embedding is not finite, or a k exceeds the images.
    ValueError: if shapes disagree, or k1, k2 or the share are out of range.

  Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal
    Encoding, CVPR 2017, Eqs. 1 to 12; published code `re_ranking`. Differs:
    ties are defined; an image that equals all others gets d = 0 and not NaN;
    d is the squared Euclidean distance also where the published function,
    handed cosine distances, would square those.
  """
  query, gallery = np.asarray(query), np.asarray(gallery)
  check_request(query.shape, gallery.shape, metric)
  num_query, count = len(query), len(query) + len(gallery)
  _check(k1, k2, original_share, count)
  points = grid.create_points(np.concatenate([query, gallery]), metric)
  near = find_neighbours(points, max(k1 + 1, k2), block=block)
  largest = np.where(near.farthest > 0, near.farthest, 1.0)
  weights = _average(_weights(points, near.order, largest, k1), near.order, k2)
  # Columns of the gallery's weights: all images that put weight on an image.
  holders = weights[num_query:].tocsc()
  weights = weights[:num_query]

  def distances(start: int, stop: int) -> np.ndarray:
    out = grid.squared_distances(
      points, slice(start, stop), slice(num_query, count)
    )
    out *= original_share / largest[start:stop, None]
    for row in range(start, stop):
      own = slice(weights.indptr[row], weights.indptr[row + 1])
      shared = _sum_of_minima(weights.indices[own], weights.data[own], holders)
      np.minimum(shared, 1.0, out=shared)  # above 1 by rounding alone
      # Weights sum to 1, so sum max = 2 - sum min.
      jaccard = 1.0 - shared / (2.0 - shared)
      out[row - start] += (1.0 - original_share) * jaccard
    return out

  return distances


def _check(k1: int, k2: int, original_share: float, count: int) -> None:
  if k1 < 1 or k2 < 1 or not 0 <= original_share <= 1:
    raise ValueError(
      f"re-ranking with k1={k1}, k2={k2}, lambda={original_share}; k1 and k2 "
      "are at least 1 and lambda lies in [0, 1]."
    )
  if k1 >= count or k2 > count:
    raise UserError(
      f"re-ranking with k1={k1} and k2={k2} needs more than {k1} images and at "
      f"least {k2}, and this query set and gallery have {count} together; "
      "lower eval.rerank_k1 and eval.rerank_k2, or rank without re-ranking."
    )


def _reciprocal(order: np.ndarray) -> Any:
  """Sparse int32 [N, N], 1 where two images are in each other's lists."""
  from scipy import sparse

  count, k = order.shape
  ones = np.ones(order.size, np.int32)
  pointers = np.arange(0, order.size + 1, k)
  lists = sparse.csr_array((ones, order.ravel(), pointers), (count, count))
  return lists.multiply(lists.T.tocsr()).tocsr()


def _weights(
  points: grid.Points, order: np.ndarray, largest: np.ndarray, k1: int
) -> Any:
  """Sparse float64 [N, N], w; see `make_reranked_distances`."""
  from scipy import sparse

  count = len(order)
  wide = _reciprocal(order[:, : k1 + 1])
  narrow = _reciprocal(order[:, : int(np.around(k1 / 2)) + 1])
  sizes = np.diff(narrow.indptr)
  parts = []
  for start in range(0, count, _ROWS):
    rows = wide[start : start + _ROWS]
    # Symmetric, so this counts the images that i's and j's sets share.
    shared = rows.multiply(rows @ narrow).tocsr()
    shared.data = (3 * shared.data > 2 * sizes[shared.indices]).astype(np.int32)
    shared.eliminate_zeros()
    part = (rows + shared @ narrow).astype(np.float64).tocsr()
    part.sort_indices()
    for index in range(part.shape[0]):
      low, high = part.indptr[index : index + 2]
      row, members = start + index, part.indices[low:high]
      squares = grid.squared_distances_to(points, row, members)
      raw = np.exp(-squares / largest[row])
      part.data[low:high] = raw / raw.sum()
    parts.append(part)
  return sparse.vstack(parts, format="csr")


def _average(weights: Any, order: np.ndarray, k2: int) -> Any:
  """Mean of the weights over each image's `k2` nearest images."""
  from scipy import sparse

  if k2 == 1:
    return weights
  count = len(order)
  shares = np.full(count * k2, 1.0 / k2)
  pointers = np.arange(0, count * k2 + 1, k2)
  nearest = sparse.csr_array(
    (shares, order[:, :k2].ravel(), pointers), (count, count)
  )
  return (nearest @ weights).tocsr()


def _sum_of_minima(
  columns: np.ndarray, values: np.ndarray, holders: Any
) -> np.ndarray:
  """Sum over the columns of min(value, each holder's weight), float64 [G].

  Args:
    columns: images that the query puts weight on.
    values: the weights.
    holders: CSC [G, N], weights of the gallery.

  Returns:
    One sum for each gallery image.
  """
  starts = holders.indptr[columns]
  lengths = holders.indptr[columns + 1] - starts
  # Positions of all entries of these columns, one column after the other.
  before = np.cumsum(lengths) - lengths
  where = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
  minima = np.minimum(holders.data[where], np.repeat(values, lengths))
  return np.bincount(holders.indices[where], minima, minlength=holders.shape[0])
