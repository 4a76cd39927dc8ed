from __future__ import annotations

import sys

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import top_k
from metabin_jax.evaluation.top_k import Block


def brute_force(queries, gallery, k, valid=None):
  """Sorts everything: by falling score, then by row."""
  scores = np.asarray(queries, np.float32) @ np.asarray(gallery, np.float32).T
  if valid is not None:
    scores[:, ~valid] = -np.inf
  rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
  best = np.take_along_axis(scores, rows, axis=1)
  return best, np.where(np.isfinite(best), rows, -1)


def cut(gallery, sizes, valid=None):
  start = 0
  for size in sizes:
    part = slice(start, start + size)
    yield Block(start, gallery[part], None if valid is None else valid[part])
    start += size


@pytest.mark.parametrize("place", ["host", "device"])
@pytest.mark.parametrize("sizes", [[50], [7, 7, 7, 29], [1] * 50, [20, 20, 10]])
def test_as_sorting_everything(place, sizes):
  random = np.random.default_rng(0)
  # Whole numbers: products are exact, and many of them tie.
  queries = random.integers(-2, 3, (9, 4)).astype(np.float32)
  gallery = random.integers(-2, 3, (50, 4)).astype(np.float16)
  valid = random.random(50) < 0.7
  for k in (1, 3, 60):
    for mask in (None, valid):
      found = top_k.find(queries, cut(gallery, sizes, mask), k, place=place)
      scores, rows = brute_force(queries, gallery, k, mask)
      count = rows.shape[1]
      np.testing.assert_array_equal(found.rows[:, :count], rows)
      np.testing.assert_array_equal(found.scores[:, :count], scores)
      assert (found.rows[:, count:] == -1).all()
      assert np.isneginf(found.scores[:, count:]).all()


def test_faiss_finds_the_same(monkeypatch):
  pytest.importorskip("faiss")
  monkeypatch.setattr(top_k, "_MOST", 200)
  random = np.random.default_rng(2)
  queries = random.normal(size=(9, 8)).astype(np.float32)
  gallery = random.normal(size=(50, 8)).astype(np.float16)
  valid = random.random(50) < 0.5
  valid[20:27] = False  # a block of which nothing counts
  for k in (1, 3, 60):
    for mask in (None, valid):
      blocks = [*cut(gallery, [20, 7, 23], mask)]
      found = top_k.find(queries, blocks, k, place="faiss")
      want = top_k.find(queries, blocks, k, place="host")
      np.testing.assert_array_equal(found.rows, want.rows)
      # Sums in another order, some of them near zero.
      np.testing.assert_allclose(
        found.scores, want.scores, rtol=1e-5, atol=1e-6
      )
  found = top_k.find(np.ones((0, 8)), cut(gallery, [50]), 2, place="faiss")
  assert found.rows.shape == (0, 2)


def test_without_faiss(monkeypatch):
  monkeypatch.setitem(sys.modules, "faiss", None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[faiss\]'"):
    top_k.find(np.ones((2, 3)), [], 1, place="faiss")


def test_many_queries_are_taken_in_parts(monkeypatch):
  monkeypatch.setattr(top_k, "_MOST", 64)
  random = np.random.default_rng(1)
  queries = random.integers(-3, 4, (40, 5))
  gallery = random.integers(-3, 4, (30, 5))
  found = top_k.find(queries, cut(gallery, [16, 14]), 4)
  np.testing.assert_array_equal(found.rows, brute_force(queries, gallery, 4)[1])


def test_an_empty_gallery_and_no_query():
  found = top_k.find(np.ones((2, 3)), [], 2)
  assert (found.rows == -1).all()
  found = top_k.find(np.ones((0, 3)), [Block(0, np.ones((4, 3)))], 2)
  assert found.rows.shape == (0, 2)
  with pytest.raises(ValueError, match="k is 0"):
    top_k.find(np.ones((2, 3)), [], 0)
  with pytest.raises(ValueError, match="place is 'moon'"):
    top_k.find(np.ones((2, 3)), [], 1, place="moon")
