from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from metabin_jax.ops import distances


def draw(rows, width, seed=0):
  return np.random.default_rng(seed).standard_normal((rows, width))


def test_near_equal_rows_in_float32():
  # |a|^2 + |b|^2 - 2ab would lose every digit here: 11520 against 1e-6.
  random = np.random.default_rng(0)
  a = (3 + random.normal(0, 1, (4, 1280))).astype(np.float32)
  step = random.normal(0, 1, (4, 1280))
  step *= 1e-3 / np.linalg.norm(step, axis=1, keepdims=True)
  b = (a + step).astype(np.float32)
  want = np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=1)
  got = np.diag(distances.pairwise_euclidean(a, b))
  np.testing.assert_allclose(got, want, rtol=1e-6)
  expanded = np.sum(a * a, 1) + np.sum(b * b, 1) - 2 * np.sum(a * b, 1)
  naive = np.sqrt(np.maximum(expanded, 0))
  assert np.max(np.abs(naive / want - 1)) > 0.1


def test_equals_a_loop(float64):
  a, b = draw(5, 7), draw(6, 7, 1)
  want = [[np.linalg.norm(p - q) for q in b] for p in a]
  got = distances.pairwise_euclidean(a, b)
  np.testing.assert_allclose(got, want, rtol=1e-13)
  np.testing.assert_allclose(
    distances.pairwise_squared_euclidean(a, b), np.square(want), rtol=1e-13
  )


def test_self_distances_are_the_bound():
  x = draw(4, 9).astype(np.float32)
  diagonal = np.diag(distances.pairwise_euclidean(x, x))
  np.testing.assert_allclose(diagonal, 1e-6, rtol=1e-6)


def test_derivatives_away_from_kinks(float64):
  check_grads(
    distances.pairwise_euclidean, (draw(3, 4), draw(2, 4, 1)), order=2
  )
  check_grads(distances.l2_normalize, (draw(3, 4),), order=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_at_identical_rows_are_finite(dtype):
  with jax.enable_x64(dtype == np.float64):
    x = np.ones((3, 4), dtype)

    def loss(x):
      return jnp.sum(distances.pairwise_euclidean(x, x))

    def normalized(x):
      return jnp.sum(distances.l2_normalize(x) ** 3)

    for function, point in ((loss, x), (normalized, np.zeros_like(x))):
      grad = jax.grad(function)(point)
      hessian = jax.hessian(function)(point)
      assert grad.dtype == dtype
      assert np.all(np.isfinite(grad))
      assert np.all(np.isfinite(hessian))
    # Equal rows neither attract nor repel.
    np.testing.assert_array_equal(jax.grad(loss)(x), np.zeros_like(x))


def test_safe_sqrt():
  x = np.array([0.0, 1e-13, 4.0], np.float32)
  np.testing.assert_allclose(
    distances.safe_sqrt(x), [1e-6, 1e-6, 2.0], rtol=1e-6
  )
  grad = jax.grad(lambda x: jnp.sum(distances.safe_sqrt(x)))(x)
  np.testing.assert_allclose(grad, [0, 0, 0.25], rtol=1e-6)


def test_l2_normalize():
  x = draw(4, 5).astype(np.float32)
  x[2] = 0
  got = distances.l2_normalize(x)
  lengths = np.linalg.norm(got, axis=1)
  np.testing.assert_allclose(lengths, [1, 1, 0, 1], rtol=1e-6)


def test_bfloat16_is_computed_in_float32():
  x = jnp.asarray(draw(4, 5), jnp.bfloat16)
  assert distances.pairwise_euclidean(x, x).dtype == jnp.float32
  assert distances.l2_normalize(x).dtype == jnp.float32


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((4,), (3, 4))])
def test_shapes_must_fit(shapes):
  a, b = (np.zeros(shape, np.float32) for shape in shapes)
  with pytest.raises(ValueError, match=r"want \[N, D\] and \[M, D\]"):
    distances.pairwise_euclidean(a, b)
