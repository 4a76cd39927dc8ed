"""The nearest points of every point: found in float32, decided exactly.

A float32 matrix product proposes a few more candidates than are asked for;
their distances are then computed exactly. The bound on the float32 error says
whether another point could have belonged among them. If so, which needs nearly
equal distances, the whole row is computed exactly. So the lists do not depend
on blocks, threads or machine, and cost little more than the product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metabin_jax.evaluation import points as grid

_BLOCK_BYTES = 2**26
# Candidates beyond those asked for; more of them make exact rows rarer.
_SPARE_NEAR = 8
_SPARE_FAR = 4


class Neighbours(NamedTuple):
  """Every point's nearest points.

  Attributes:
    order: int32 [N, k]; each row starts with the point itself, then others by
      rising distance, equal distances by index.
    farthest: float64 [N], largest squared distance to any point.
  """

  order: np.ndarray
  farthest: np.ndarray


def find_neighbours(
  points: grid.Points, k: int, *, block: int | None = None
) -> Neighbours:
  """Finds the `k` nearest points of every point, itself among them.

  Peak extra memory: about three blocks of float32 [block, N].

  Args:
    points: from `points.create_points`.
    k: length of the lists, from 1 to the number of points.
    block: points per block; None chooses about 64 MiB a block. The result does
      not depend on it.

  Returns:
    The lists.

  Raises:
    ValueError: if there are fewer than `k` points.
  """
  count = len(points.rows)
  if not 1 <= k <= count:
    raise ValueError(f"k is {k}, want 1 to {count}, the number of points.")
  block = max(1, block or _BLOCK_BYTES // (4 * count))
  order = np.empty((count, k), np.int32)
  farthest = np.empty(count)
  squares = points.squares.astype(np.float32)
  for start in range(0, count, block):
    stop = min(start + block, count)
    # |y|^2 - 2 x.y: the squared distance but for |x|^2, constant in a row.
    keys = points.rows[start:stop] @ points.rows.T
    keys *= -2.0
    keys += squares
    unsure = _decide(points, start, keys, order, farthest)
    del keys  # before the float64 rows and the next block are made
    if unsure.size:
      _decide_exactly(points, unsure, order, farthest)
  return Neighbours(order, farthest)


def smallest(values: np.ndarray, k: int) -> np.ndarray:
  """Indices of the `k` smallest of `values` [n], by value, then by index."""
  if k >= values.size:
    return np.argsort(values, kind="stable")
  limit = np.partition(values, k - 1)[k - 1]
  below = np.flatnonzero(values < limit)
  at = np.flatnonzero(values == limit)[: k - below.size]
  return np.concatenate([below[np.argsort(values[below], kind="stable")], at])


def _decide(
  points: grid.Points,
  start: int,
  keys: np.ndarray,
  order: np.ndarray,
  farthest: np.ndarray,
) -> np.ndarray:
  """Fills in the rows from `start` on; returns those that float32 can't tell.

  Args:
    points: the points.
    start: first point of the block.
    keys: float32 [n, N], screening values.
    order: [N, k], written to.
    farthest: [N], written to.

  Returns:
    int64, points whose rows may be wrong.
  """
  k, count = order.shape[1], keys.shape[1]
  num_near, num_far = min(k + _SPARE_NEAR, count), min(_SPARE_FAR, count)
  error = grid.screening_error(points.rows.shape[1])
  near = _partition(keys, num_near)
  far = _partition(np.negative(keys, out=keys), num_far)
  np.negative(keys, out=keys)
  unsure = []
  for offset in range(len(keys)):
    row = start + offset
    candidates = np.sort(near[offset])
    others = np.concatenate([candidates, far[offset]])
    exact = grid.squared_distances_to(points, row, others)
    near_exact, far_exact = exact[:num_near], exact[num_near:]
    near_exact[candidates == row] = -np.inf
    by_distance = np.argsort(near_exact, kind="stable")[:k]
    order[row] = candidates[by_distance]
    farthest[row] = far_exact.max()
    # The points left out lie beyond the outermost candidates of float32.
    outer = keys[offset, near[offset]].max() + points.squares[row] - error
    inner = keys[offset, far[offset]].min() + points.squares[row] + error
    near_known = num_near == count or outer > near_exact[by_distance[-1]]
    far_known = num_far == count or inner < farthest[row]
    if not (near_known and far_known):
      unsure.append(row)
  return np.array(unsure, np.int64)


def _decide_exactly(
  points: grid.Points,
  rows: np.ndarray,
  order: np.ndarray,
  farthest: np.ndarray,
) -> None:
  """Fills in these rows from float64 distances to all points."""
  count, k = order.shape
  exact = grid.squared_distances(points, rows, slice(0, count))
  for row, distances in zip(rows, exact, strict=True):
    farthest[row] = distances.max()
    distances[row] = -np.inf
    order[row] = smallest(distances, k)


def _partition(keys: np.ndarray, k: int) -> np.ndarray:
  """Columns [n, k] of the smallest `k` keys of each row, in any order."""
  return np.argpartition(keys, k - 1, axis=1)[:, :k].astype(np.int32)
