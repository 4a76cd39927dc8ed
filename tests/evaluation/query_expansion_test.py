"""Average query expansion, by hand and image by image."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation.query_expansion import expand_queries


def random_rows(count: int, seed: int) -> np.ndarray:
  random = np.random.Generator(np.random.Philox(key=[seed, 5]))
  return random.standard_normal((count, 6)).astype(np.float32)


def test_by_hand():
  # Lengths do not count; the neighbours of (1, 0) are (4, 3) and (0, 2).
  query = np.array([[7.0, 0.0]])
  gallery = np.array([[0.0, 2.0], [-1.0, 0.0], [4.0, 3.0]])
  got = expand_queries(query, gallery, 1)
  np.testing.assert_allclose(got, [[1.8 / np.sqrt(3.6), 0.6 / np.sqrt(3.6)]])
  got = expand_queries(query, gallery, 2)
  np.testing.assert_allclose(
    got, [[1.8 / np.hypot(1.8, 1.6), 1.6 / np.hypot(1.8, 1.6)]]
  )
  got = expand_queries(query, gallery, 3)
  np.testing.assert_allclose(got, [[0.8 / np.hypot(0.8, 1.6), 2 / np.sqrt(5)]])


def naive(query, gallery, k):
  expanded = []
  unit = lambda row: row / np.linalg.norm(row)  # noqa: E731
  for row in query.astype(np.float64):
    near = sorted(
      gallery.astype(np.float64), key=lambda g: -unit(g) @ unit(row)
    )
    expanded.append(unit(unit(row) + sum(unit(g) for g in near[:k])))
  return np.array(expanded)


@pytest.mark.parametrize("k", [1, 4, 40])
def test_image_by_image(k):
  query, gallery = random_rows(13, 0), random_rows(40, 1)
  got = expand_queries(query, gallery, k)
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, naive(query, gallery, k), rtol=0, atol=1e-6)
  for block in (1, 5):
    again = expand_queries(query, gallery, k, block=block)
    np.testing.assert_array_equal(again, got)


def test_ties_go_by_index():
  # Both neighbours are equally near.
  gallery = np.array([[0.0, -1.0], [0.0, 1.0]])
  got = expand_queries(np.array([[1.0, 0.0]]), gallery, 1)
  np.testing.assert_allclose(got, [[np.sqrt(0.5), -np.sqrt(0.5)]])


def test_opposites_that_cancel_stay_zero():
  got = expand_queries(np.array([[1.0, 0.0]]), np.array([[-2.0, 0.0]]), 1)
  np.testing.assert_array_equal(got, [[0.0, 0.0]])


def test_k_out_of_range():
  query, gallery = random_rows(2, 0), random_rows(4, 1)
  with pytest.raises(UserError, match="which has 4; lower eval"):
    expand_queries(query, gallery, 5)
  with pytest.raises(ValueError, match="at least 1 neighbour"):
    expand_queries(query, gallery, 0)
