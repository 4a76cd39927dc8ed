from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation.exact_distances import make_distances


def embeddings(rows: int, columns: int, seed: int = 0) -> np.ndarray:
  rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
  return rng.standard_normal((rows, columns)).astype(np.float32)


def naive(query, gallery, metric):
  """One pair at a time, in float64."""
  out = np.empty((len(query), len(gallery)))
  for i, a in enumerate(query.astype(np.float64)):
    for j, b in enumerate(gallery.astype(np.float64)):
      if metric == "cosine":
        out[i, j] = 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
      else:
        out[i, j] = np.linalg.norm(a - b)
  return out


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_agrees_with_one_pair_at_a_time(metric):
  query, gallery = 7 * embeddings(5, 33), 7 * embeddings(9, 33, seed=1)
  got = make_distances(query, gallery, metric)(0, 5)
  want = naive(query, gallery, metric)
  assert np.abs(got - want).max() < (1e-7 if metric == "cosine" else 1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("columns", [1, 17, 512])
def test_a_pair_has_one_distance_wherever_it_stands(metric, columns):
  # Odd sizes: BLAS treats the edges of a block unlike its middle.
  query, gallery = embeddings(23, columns), embeddings(61, columns, seed=1)
  whole = make_distances(query, gallery, metric)(0, 23)
  for block in (1, 2, 7):
    for start in range(0, 23, block):
      stop = min(start + block, 23)
      part = make_distances(query, gallery, metric)(start, stop)
      np.testing.assert_array_equal(part, whole[start:stop])
  order = np.random.Generator(np.random.Philox(key=[3, 0])).permutation(61)
  moved = make_distances(query, gallery[order], metric)(0, 23)
  np.testing.assert_array_equal(moved, whole[:, order])
  # Permuting the numbers within an embedding changes the order of summation,
  # which exact arithmetic does not see (euclidean: no rounding before it).
  if metric == "euclidean":
    turned = make_distances(query[:, ::-1], gallery[:, ::-1], metric)(0, 23)
    np.testing.assert_array_equal(turned, whole)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_copies_tie_exactly_and_are_at_distance_zero_of_themselves(metric):
  gallery = np.repeat(embeddings(1, 300), 70, axis=0)
  query = embeddings(3, 300, seed=4)
  got = make_distances(query, gallery, metric)(0, 3)
  assert (got == got[:, :1]).all()
  if metric == "euclidean":
    assert (make_distances(gallery, gallery, metric)(0, 70) == 0).all()


def test_near_pairs_far_from_the_origin_keep_their_distance():
  # |a|^2 + |b|^2 - 2ab in float32 loses such distances altogether.
  a = np.full((1, 1280), 3.0, np.float32)
  b = a.copy()
  b[0, 0] += 0.037
  got = make_distances(a, b, "euclidean")(0, 1)[0, 0]
  assert got == pytest.approx(0.037, rel=1e-4)


def test_zero_embedding_is_at_cosine_distance_one():
  got = make_distances(np.zeros((1, 4)), np.eye(4), "cosine")(0, 1)
  np.testing.assert_array_equal(got, np.ones((1, 4)))


def test_opposite_and_equal_directions():
  query = np.array([[3.0, 4.0]])
  gallery = np.array([[6.0, 8.0], [-3.0, -4.0], [4.0, -3.0]])
  got = make_distances(query, gallery, "cosine")(0, 1)
  np.testing.assert_allclose(got, [[0.0, 2.0, 1.0]], atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embedding_is_named(bad):
  gallery = embeddings(5, 4)
  gallery[3, 1] = bad
  with pytest.raises(UserError, match="gallery image 3 is not finite"):
    make_distances(embeddings(2, 4), gallery, "cosine")


def test_refuses_other_shapes_and_metrics():
  with pytest.raises(ValueError, match=r"want \[Q, D\]"):
    make_distances(np.zeros(3), np.zeros((2, 3)))
  with pytest.raises(ValueError, match="4 numbers and gallery embeddings 3"):
    make_distances(np.zeros((2, 4)), np.zeros((2, 3)))
  with pytest.raises(ValueError, match="'cosine' or 'euclidean'"):
    make_distances(np.zeros((2, 3)), np.zeros((2, 3)), "manhattan")
