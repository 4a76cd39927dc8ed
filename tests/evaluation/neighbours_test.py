"""Lists of neighbours are exact, whatever float32 says."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.evaluation import neighbours
from metabin_jax.evaluation.points import create_points


def random_points(count: int, dimension: int, seed: int = 0) -> np.ndarray:
  random = np.random.Generator(np.random.Philox(key=[seed, 3]))
  return random.standard_normal((count, dimension)).astype(np.float32)


def naive(points, k):
  """Sorts every row by (itself first, exact distance, index)."""
  rows = points.rows.astype(np.float64)
  dist = ((rows[:, None] - rows) ** 2).sum(axis=2)
  order = [
    sorted(range(len(rows)), key=lambda j: (j != i, dist[i, j], j))[:k]
    for i in range(len(rows))
  ]
  return np.array(order), dist.max(axis=1)


def clusters(spread: float) -> np.ndarray:
  """Groups so tight that float32 cannot order them."""
  centres = 100 + random_points(4, 16)
  return np.repeat(centres, 12, axis=0) + spread * random_points(48, 16, 1)


CASES = {
  "apart": random_points(50, 20),
  "few": random_points(5, 3),
  "near float32's limit": clusters(1e-3),
  "copies": np.repeat(random_points(6, 8), 9, axis=0),
  "pairs": np.tile(random_points(40, 8), (2, 1)),
  "one point": np.ones((30, 4), np.float32),
  "zeros": np.zeros((20, 4), np.float32),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("block", [None, 1, 7])
def test_lists_are_exact(name, metric, block):
  points = create_points(CASES[name], metric)
  k = min(21, len(points.rows))
  got = neighbours.find_neighbours(points, k, block=block)
  order, farthest = naive(points, k)
  assert got.order.dtype == np.int32
  np.testing.assert_array_equal(got.order, order)
  np.testing.assert_allclose(got.farthest, farthest, rtol=1e-12, atol=0)


@pytest.fixture(name="exact_rows")
def exact_rows_fixture(monkeypatch):
  rows = []
  decide = neighbours._decide_exactly

  def recorded(points, unsure, *rest):
    rows.extend(unsure)
    decide(points, unsure, *rest)

  monkeypatch.setattr(neighbours, "_decide_exactly", recorded)
  return rows


def test_ordinary_rows_need_no_float64_product(exact_rows):
  points = create_points(random_points(400, 64), "cosine")
  neighbours.find_neighbours(points, 21)
  assert not exact_rows


def test_rows_that_float32_cannot_decide_are_recomputed(exact_rows):
  # Thirty copies of a point and k = 4: the copies in the list are a matter of
  # their index. The other points have no such doubts.
  far = 5 * random_points(40, 8)
  line = np.concatenate([far, np.repeat(random_points(1, 8, 2), 30, axis=0)])
  points = create_points(line, "euclidean")
  got = neighbours.find_neighbours(points, 4)
  assert set(range(40, 70)) <= set(exact_rows) < set(range(70))
  assert got.order[50].tolist() == [50, 40, 41, 42]


def test_an_exact_farthest_point(exact_rows):
  # Six equal farthest points, more than float32's candidates.
  near = 0.01 * random_points(60, 5)
  far = np.repeat([[9.0, 0, 0, 0, 0]], 6, axis=0)
  points = create_points(np.concatenate([near, far]), "euclidean")
  got = neighbours.find_neighbours(points, 3)
  assert set(range(60)) <= set(exact_rows)
  np.testing.assert_allclose(got.farthest, naive(points, 3)[1], rtol=1e-12)


def test_k_must_fit():
  points = create_points(random_points(5, 3), "cosine")
  for k in (0, 6):
    with pytest.raises(ValueError, match="want 1 to 5"):
      neighbours.find_neighbours(points, k)


def test_smallest_goes_by_value_then_by_index():
  values = np.array([5.0, 1.0, 3.0, 1.0, 3.0, 3.0, 0.0])
  want = [6, 1, 3, 2, 4, 5, 0]
  for k in range(1, 8):
    assert neighbours.smallest(values, k).tolist() == want[:k]
  assert neighbours.smallest(values, 9).tolist() == want
