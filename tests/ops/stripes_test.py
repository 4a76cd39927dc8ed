"""Stripes of maps of every height against loops."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.ops import stripes


@pytest.mark.parametrize(
  ("rows", "bounds"),
  [
    (24, [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20), (20, 24)]),
    (12, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12)]),
    (8, [(0, 2), (1, 3), (2, 4), (4, 6), (5, 7), (6, 8)]),
    (16, [(0, 3), (2, 6), (5, 8), (8, 11), (10, 14), (13, 16)]),
    (2, [(0, 1), (0, 1), (0, 1), (1, 2), (1, 2), (1, 2)]),
  ],
)
def test_bounds(rows, bounds):
  assert stripes.stripe_bounds(rows, 6) == bounds


@pytest.mark.parametrize("rows", [1, 5, 8, 12, 16])
def test_pool_is_the_mean_of_each_stripe(rows, float64):
  x = np.random.default_rng(rows).normal(size=(3, rows, 4, 5))
  pooled = np.asarray(stripes.stripe_pool(x, 6))
  assert pooled.shape == (3, 6, 5)
  for part, (start, stop) in enumerate(stripes.stripe_bounds(rows, 6)):
    expected = np.zeros((3, 5))
    for row in range(start, stop):
      for column in range(4):
        expected += x[:, row, column]
    expected /= (stop - start) * 4
    np.testing.assert_allclose(pooled[:, part], expected, rtol=1e-12)


@pytest.mark.parametrize(("rows", "parts"), [(0, 6), (8, 0)])
def test_refuses_none(rows, parts):
  with pytest.raises(ValueError, match="at least 1"):
    stripes.stripe_bounds(rows, parts)
