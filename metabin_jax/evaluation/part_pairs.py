"""Pairs of gallery images that seem to show one person, found without labels.

BNTA's Algorithm 1: the distance of two images is that of their nearest parts of
one kind, and pairs are taken greedily from the nearest on, each image once.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

# Images of a block of rows, whose distances to all others are in memory.
_BLOCK = 256
# Candidates whose differences are in memory.
_CANDIDATES = 1024
# The published limit on the number of pairs.
MAX_PAIRS = 128


class Pairs(NamedTuple):
  """Pairs in the order in which they were taken.

  Attributes:
    rows: int [K, 2], anchor < positive, rows of the features.
    parts: int [K], the part that was nearest.
    distances: float64 [K], of these parts.
  """

  rows: np.ndarray
  parts: np.ndarray
  distances: np.ndarray


def count_pairs(num_images: int, limit: int = MAX_PAIRS) -> int:
  """Number of pairs that `pair_images` makes: min(limit, N // 2)."""
  return min(limit, num_images // 2)


def pair_images(
  features: np.ndarray, limit: int = MAX_PAIRS, *, block: int = _BLOCK
) -> Pairs:
  """Takes the nearest pairs, greedily.

  Visits all pairs (i, j), i < j, by increasing (distance, i, j) and takes one
  if both images are still free. Equally near parts of two images: the first.

  Each image's nearest later image waits in a queue. If that partner is taken
  when its turn comes, the image looks for its next one, among the free images
  only. No more than `block` x N distances are in memory at a time.

  Args:
    features: [N, P, C] features of every part; not normalized.
    limit: most pairs to take, at least 0.
    block: images whose distances to all others are in memory.

  Returns:
    `count_pairs(N, limit)` pairs; none where N < 2.

  Raises:
    ValueError: for another shape, a negative limit, or numbers that are not
      finite.

  Source: BNTA (AAAI 2022), Algorithm 1, lines 4 to 7.
  Differs: the paper asks for "K non-overlapping pairs with the minimum part
    distances", which could also be the pairs of least sum; those are others.
  """
  features = np.asarray(features, np.float64)
  if features.ndim != 3 or limit < 0:
    raise ValueError(
      f"features have shape {features.shape} and limit is {limit}; want "
      "[N, P, C] and at least 0."
    )
  if not np.isfinite(features).all():
    raise ValueError("part features are not finite.")
  wanted = count_pairs(len(features), limit)
  if not wanted:
    return Pairs(np.zeros((0, 2), int), np.zeros(0, int), np.zeros(0))
  search = _Search(features)
  queue = [
    found
    for start in range(0, len(features) - 1, block)
    for found in search.nearest(np.arange(start, start + block))
  ]
  heapq.heapify(queue)
  taken: list[_Pair] = []
  while len(taken) < wanted:
    nearest = heapq.heappop(queue)
    if not search.free[nearest.anchor]:
      continue
    if search.free[nearest.positive]:
      search.free[[nearest.anchor, nearest.positive]] = False
      taken.append(nearest)
      continue
    for found in search.nearest(np.array([nearest.anchor])):
      heapq.heappush(queue, found)
  return Pairs(
    np.array([(pair.anchor, pair.positive) for pair in taken]),
    np.array([pair.part for pair in taken]),
    np.array([pair.distance for pair in taken]),
  )


class _Pair(NamedTuple):
  """Compares as the greedy rule does."""

  distance: float
  anchor: int
  positive: int
  part: int


class _Search:
  """Finds the nearest free image behind an image.

  Inner products say which images may be nearest, up to their rounding; the
  distances of these are then taken from differences, since products would turn
  copies of an image into near ones, and ties into an order.
  """

  def __init__(self, features: np.ndarray):
    self.free = np.ones(len(features), bool)
    self._parts = np.ascontiguousarray(np.swapaxes(features, 0, 1))
    self._squares = np.sum(np.square(self._parts), axis=2)
    # Of a squared distance by products, relative to the two squares: a sum of
    # C terms is off by less than C roundings, of which there are three.
    channels = features.shape[2]
    self._rounding = 4 * (channels + 2) * np.finfo(np.float64).eps

  def nearest(self, rows: np.ndarray) -> list[_Pair]:
    """For each of the rows its nearest free image of a higher row.

    Rows that are out of range, or behind which there is none, give nothing.
    """
    rows = rows[rows < len(self.free)]
    columns = np.flatnonzero(self.free)
    columns = columns[columns > rows[0]]
    squared = self._squared(rows, columns)
    slack = self._rounding * (
      self._squares[:, rows].max(0) + self._squares[:, columns].max(initial=0.0)
    )
    found = []
    for place, row in enumerate(rows):
      behind = np.searchsorted(columns, row, side="right")
      if behind < len(columns):
        near = squared[:, place, behind:].T
        later, parts = np.nonzero(near <= near.min() + 2 * slack[place])
        found.append(self._first(row, columns[behind + later], parts))
    return found

  def _squared(self, rows, columns):
    """Squared distances [P, R, C] of every part, up to rounding."""
    result = np.empty((len(self._parts), len(rows), len(columns)))
    for part, x in enumerate(self._parts):
      squares = self._squares[part]
      np.matmul(x[rows], x[columns].T, out=result[part])
      result[part] *= -2
      result[part] += squares[rows, None]
      result[part] += squares[columns]
    return result

  def _first(self, row, candidates, parts):
    """The nearest of some candidates, in their order, by differences.

    Of copies there may be as many as images: nothing comes before the first
    distance of zero.
    """
    nearest, place = np.inf, 0
    for start in range(0, len(parts), _CANDIDATES):
      some = slice(start, start + _CANDIDATES)
      away = self._parts[parts[some], candidates[some]]
      away = away - self._parts[parts[some], row]
      distances = np.sqrt(np.sum(np.square(away), axis=1))
      best = int(np.argmin(distances))  # the first of equals
      if distances[best] < nearest:
        nearest, place = float(distances[best]), start + best
      if nearest == 0:
        break
    return _Pair(nearest, int(row), int(candidates[place]), int(parts[place]))
