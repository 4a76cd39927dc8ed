"""Squared distances on the grid, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import points as grid


def embeddings(rows: int, columns: int, seed: int = 0) -> np.ndarray:
  random = np.random.Generator(np.random.Philox(key=[seed, 4]))
  return (5 * random.standard_normal((rows, columns))).astype(np.float32)


def exact(points):
  """Integer arithmetic without any rounding."""
  rows = [[int(v * 2**24) for v in row] for row in points.rows.tolist()]
  return np.array(
    [
      [sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for b in rows]
      for a in rows
    ],
    dtype=object,
  )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_exact_in_every_form(metric, monkeypatch):
  points = grid.create_points(embeddings(11, 40), metric)
  assert points.rows.dtype == np.float32
  assert (points.rows * 2.0**24 == np.rint(points.rows * 2.0**24)).all()
  want = exact(points)
  for chunk in (2**24, 1, 8 * 40 * 3):
    monkeypatch.setattr(grid, "_CHUNK_BYTES", chunk)
    again = grid.create_points(embeddings(11, 40), metric)
    np.testing.assert_array_equal(again.rows, points.rows)
    np.testing.assert_array_equal(again.squares, points.squares)
    for rows in (slice(2, 9), np.array([10, 0, 3])):
      got = grid.squared_distances(points, rows, slice(1, 11))
      assert ((got * 2**48).astype(object) == want[rows, 1:11]).all()
    others = np.array([4, 4, 0, 9])
    got = grid.squared_distances_to(points, 5, others)
    assert ((got * 2**48).astype(object) == want[5, others]).all()


def test_cosine_and_euclidean_mean_what_they_say():
  a = embeddings(6, 10)
  unit = a / np.linalg.norm(a.astype(np.float64), axis=1, keepdims=True)
  points = grid.create_points(a, "cosine")
  got = grid.squared_distances(points, slice(0, 6), slice(0, 6))
  np.testing.assert_allclose(got, 2 - 2 * unit @ unit.T, rtol=0, atol=2e-7)
  points = grid.create_points(a, "euclidean")
  scale = 2.0 ** np.rint(np.log2(points.rows[0, 0] / a[0, 0]))
  norms = np.linalg.norm(points.rows, axis=1)
  assert 0.5 < norms.max() <= 1.0
  np.testing.assert_allclose(points.rows, a * scale, rtol=0, atol=2**-24)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_zeros_stay_at_the_origin(metric):
  points = grid.create_points(np.zeros((2, 3)), metric)
  assert not points.rows.any()


@pytest.mark.parametrize("dimension", [1, 37, 2048])
def test_float32_keeps_to_the_bound(dimension):
  points = grid.create_points(embeddings(80, dimension), "cosine")
  keys = points.squares.astype(np.float32) - 2 * (points.rows @ points.rows.T)
  error = np.abs(
    keys.astype(np.float64)
    + points.squares[:, None]
    - grid.squared_distances(points, slice(0, 80), slice(0, 80))
  )
  bound = grid.screening_error(dimension)
  assert error.max() <= bound
  assert bound < 3e-7 * (dimension + 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named(bad):
  broken = embeddings(5, 4)
  broken[3, 1] = bad
  with pytest.raises(UserError, match="embedding 3 is not finite"):
    grid.create_points(broken, "cosine")


def test_unknown_metric():
  with pytest.raises(ValueError, match="'cosine' or 'euclidean'"):
    grid.create_points(embeddings(2, 2), "manhattan")
