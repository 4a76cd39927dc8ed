"""k-reciprocal re-ranking against its formula, written out image by image."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import rerank


def generator(seed: int) -> np.random.Generator:
  return np.random.Generator(np.random.Philox(key=[seed, 7]))


def persons(count: int, dimension: int = 24, seed: int = 0) -> np.ndarray:
  """Embeddings in groups that overlap."""
  random = generator(seed)
  centres = random.standard_normal((max(1, count // 6), dimension))
  which = random.integers(0, len(centres), count)
  noise = random.standard_normal((count, dimension))
  return (3 * (centres[which] + 0.8 * noise)).astype(np.float32)


def naive(query, gallery, metric, k1, k2, original_share):
  """Zhong et al., one image and one set at a time, in float64."""
  points = np.concatenate([query, gallery]).astype(np.float64)
  if metric == "cosine":
    points /= np.linalg.norm(points, axis=1, keepdims=True)
  count = len(points)
  dist = ((points[:, None] - points) ** 2).sum(axis=2)
  dist /= dist.max(axis=1, keepdims=True)
  order = []
  for i in range(count):
    others = sorted((dist[i, j], j) for j in range(count) if j != i)
    order.append([i, *(j for _, j in others)])

  def reciprocal(i, k):
    return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

  weights = np.zeros((count, count))
  for i in range(count):
    first = reciprocal(i, k1)
    expanded = set(first)
    for j in first:
      second = reciprocal(j, int(np.around(k1 / 2)))
      if len(second & first) > 2 / 3 * len(second):
        expanded |= second
    for j in expanded:
      weights[i, j] = np.exp(-dist[i, j])
    weights[i] /= weights[i].sum()
  mean = np.array([weights[order[i][:k2]].mean(axis=0) for i in range(count)])
  low = np.minimum(mean[:, None], mean).sum(axis=2)
  high = np.maximum(mean[:, None], mean).sum(axis=2)
  final = (1 - original_share) * (1 - low / high) + original_share * dist
  return final[: len(query), len(query) :]


def reranked(query, gallery, metric="cosine", **options):
  distances = rerank.make_reranked_distances(query, gallery, metric, **options)
  return distances(0, len(query))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
  ("k1", "k2", "share"),
  # 5 and 10: half of k1 is rounded to even. 25 and 3: k2 and k1 change sides.
  [(20, 6, 0.3), (5, 1, 0.0), (10, 3, 0.7), (3, 25, 0.5), (1, 1, 0.2)],
)
def test_is_the_published_formula(metric, k1, k2, share):
  query, gallery = persons(30), persons(90, seed=1)
  gallery[:30] = query + generator(2).normal(0, 1, query.shape)
  got = reranked(query, gallery, metric, k1=k1, k2=k2, original_share=share)
  want = naive(query, gallery, metric, k1, k2, share)
  assert got.dtype == np.float64
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
  assert len(np.unique(want.round(9))) > 30  # not a trivial problem


def test_defaults_are_the_published_ones():
  query, gallery = persons(20), persons(60, seed=1)
  want = naive(query, gallery, "cosine", 20, 6, 0.3)
  np.testing.assert_allclose(reranked(query, gallery), want, rtol=0, atol=1e-6)


def test_neither_blocks_nor_ranges_change_a_bit(monkeypatch):
  query, gallery = persons(40), persons(70, seed=1)
  whole = reranked(query, gallery)
  for block in (1, 13, 110):
    distances = rerank.make_reranked_distances(query, gallery, block=block)
    for start, stop in ((0, 1), (1, 8), (8, 40)):
      np.testing.assert_array_equal(distances(start, stop), whole[start:stop])
  monkeypatch.setattr(rerank, "_ROWS", 9)
  np.testing.assert_array_equal(reranked(query, gallery), whole)


def test_memory_does_not_grow_with_the_square_of_the_images():
  query, gallery = persons(100), persons(2900, seed=1)
  tracemalloc.start()
  distances = rerank.make_reranked_distances(query, gallery, block=50)
  for start in range(0, 100, 10):
    distances(start, start + 10)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 2 * 3000 * 3000  # half of one float32 array [N, N]


def test_distances_may_be_overwritten():
  distances = rerank.make_reranked_distances(persons(9), persons(30, seed=1))
  first = distances(0, 9).copy()
  distances(0, 9)[:] = np.nan
  np.testing.assert_array_equal(distances(0, 9), first)


def test_permuting_the_gallery_permutes_the_result():
  query, gallery = persons(30), persons(80, seed=1)
  order = generator(5).permutation(80)
  turn = generator(6).permutation(30)
  got = reranked(query[turn], gallery[order])
  want = reranked(query, gallery)[np.ix_(turn, order)]
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_lambda_one_is_the_original_order():
  query, gallery = persons(10), persons(40, seed=1)
  got = reranked(query, gallery, original_share=1.0)
  unit = [
    x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery)
  ]
  np.testing.assert_array_equal(
    got.argsort(axis=1), (-unit[0] @ unit[1].T).argsort(axis=1)
  )


def test_images_that_find_each_other_come_first():
  # b is nearer to the query than c, but b has nearer friends of its own.
  places = {"query": 0.0, "b": 1.0, "c": -1.1}
  friends = [1.3, 1.4, 1.5, 1.6]
  line = np.array([*places.values(), *friends, 40.0, 41.0, 42.0])
  points = np.stack([line, np.zeros_like(line)], axis=1)
  before = reranked(
    points[:1], points[1:], "euclidean", k1=3, k2=1, original_share=1.0
  )
  assert before[0].argmin() == 0
  after = reranked(
    points[:1], points[1:], "euclidean", k1=3, k2=1, original_share=0.3
  )
  assert after[0].argmin() == 1


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_images_give_numbers_and_a_defined_order(metric):
  query, gallery = np.ones((3, 4)), np.ones((40, 4))
  got = reranked(query, gallery, metric)
  assert np.isfinite(got).all()
  assert (got >= 0).all()
  assert (got <= 1).all()
  np.testing.assert_array_equal(got, reranked(query, gallery, metric, block=1))


def test_small_folds_work():
  # As in i-LIDS: 60 queries, 60 answers.
  got = reranked(persons(60), persons(60, seed=1))
  assert got.shape == (60, 60)
  assert np.isfinite(got).all()
  assert reranked(persons(11), persons(10, seed=1)).shape == (11, 10)


@pytest.mark.parametrize(("k1", "k2"), [(21, 6), (40, 6), (5, 22)])
def test_k_beyond_the_images_is_explained(k1, k2):
  with pytest.raises(
    UserError, match=r"have 21 together; lower eval.rerank_k1"
  ):
    reranked(persons(11), persons(10, seed=1), k1=k1, k2=k2)
  reranked(persons(11), persons(10, seed=1), k1=20, k2=21)


@pytest.mark.parametrize(
  "options",
  [{"k1": 0}, {"k2": 0}, {"original_share": -0.1}, {"original_share": 1.1}],
)
def test_values_out_of_range(options):
  with pytest.raises(ValueError, match="k1 and k2 are at least 1 and lambda"):
    reranked(persons(30), persons(10, seed=1), **options)


def test_refuses_shapes_metrics_and_nan():
  with pytest.raises(ValueError, match="3 numbers and gallery embeddings 4"):
    reranked(np.zeros((2, 3)), np.zeros((30, 4)))
  with pytest.raises(ValueError, match="'cosine' or 'euclidean'"):
    reranked(persons(9), persons(30), "manhattan")
  broken = persons(30)
  broken[4, 1] = np.nan
  with pytest.raises(UserError, match="not finite"):
    reranked(persons(9), broken)
