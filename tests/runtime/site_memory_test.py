"""What method "mar" starts from: threshold and centres of all images."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.runtime import site_memory

RANDOM = np.random.default_rng(3)


def brute_force(y, ratio):
  every = sorted(
    np.minimum(y[i], y[j]).sum() for i in range(len(y)) for j in range(i)
  )
  return every[-max(1, int(len(every) * ratio))]


@pytest.mark.parametrize("size", [2, 9, 40])
@pytest.mark.parametrize("ratio", [0.0, 0.005, 0.3, 1.0])
@pytest.mark.parametrize("rows", [3, 64])
def test_kth_agreement_equals_brute_force(size, ratio, rows):
  y = RANDOM.random((size, 6)).astype(np.float32)
  # Rows that are there twice: ties.
  y[size // 2] = y[0]
  y /= y.sum(1, keepdims=True)
  found = site_memory.kth_agreement(y, ratio, rows=rows)
  np.testing.assert_allclose(found, brute_force(y, ratio), rtol=1e-6)
