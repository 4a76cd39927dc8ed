from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation.single_shot import single_shot_cmc


def score(dist, *labels, **options):
  dist = np.array(dist, float)
  return single_shot_cmc(
    lambda start, stop: dist[start:stop].copy(), len(dist), *labels, **options
  )


def generator(seed):
  return np.random.Generator(np.random.Philox(key=[seed, 3]))


def naive_expectation(dist, q_pid, q_camid, g_pid, g_camid, max_rank):
  """Mean over every gallery that can be drawn."""
  curves = []
  for row in range(len(q_pid)):
    kept = [
      image
      for image in range(len(g_pid))
      if not (g_pid[image] == q_pid[row] and g_camid[image] == q_camid[row])
    ]
    people = [[i for i in kept if g_pid[i] == p] for p in sorted(set(g_pid))]
    people = [images for images in people if images]
    curve = np.zeros(max_rank)
    galleries = list(itertools.product(*people))
    for gallery in galleries:
      order = sorted((dist[row][i], g_pid[i] == q_pid[row]) for i in gallery)
      rank = [match for _, match in order].index(True)
      curve[rank:] += 1 / len(galleries)
    curves.append(curve)
  return np.mean(curves, axis=0)


class TestAgainstEveryDraw:
  @pytest.mark.parametrize("seed", range(3))
  def test_the_mean_tends_to_the_expectation(self, seed):
    rng = generator(seed)
    g_pid = np.repeat([1, 2, 3, 4], [3, 2, 4, 1])
    g_camid = np.array([0, 1, 1, 0, 1, 0, 1, 1, 0, 1])
    dist = np.floor(rng.random((4, 10)) * 8)  # with ties
    labels = ([1, 2, 3, 4], [0, 0, 0, 0], g_pid, g_camid)
    want = naive_expectation(dist, *labels, 4)
    got = score(dist, *labels, max_rank=4, trials=4000, seed=seed)
    # Four standard deviations of a mean of 4,000 draws.
    np.testing.assert_allclose(got.cmc, want, atol=4 * 0.5 / np.sqrt(4000))
    assert got.by_trial.shape == (4000, 4)
    assert got.num_valid == 4
    np.testing.assert_allclose(got.by_trial.mean(axis=0), got.cmc)


def test_one_image_a_person_is_the_ordinary_cmc():
  dist = [[1, 2, 3], [2, 1, 3], [1, 2, 3]]
  got = score(dist, [1, 1, 3], [0] * 3, [1, 2, 3], [1] * 3, max_rank=5)
  np.testing.assert_allclose(got.cmc, [1 / 3, 2 / 3, 1, 1, 1])
  assert (got.by_trial == got.by_trial[0]).all()


def test_junk_is_left_out_of_the_draw():
  """Of the person's images the nearer one is junk and must never be drawn."""
  options = {"trials": 50, "max_rank": 2}
  got = score([[0, 5, 3]], [1], [0], [1, 1, 2], [0, 1, 0], **options)
  assert (got.by_trial[:, 0] == 0).all()
  assert (got.by_trial[:, 1] == 1).all()
  off = score(
    [[0, 5, 3]], [1], [0], [1, 1, 2], [0, 1, 0], cross_camera=False, **options
  )
  assert 0 < off.cmc[0] < 1


def test_ties_go_to_the_other_person():
  got = score([[1, 1]], [1], [0], [1, 2], [1, 1], max_rank=2)
  assert got.cmc.tolist() == [0, 1]
  infinite = score([[np.inf, np.inf]], [1], [0], [1, 2], [1, 1], max_rank=2)
  assert infinite.cmc.tolist() == [0, 1]
  alone = score([[np.inf, np.inf]], [1], [0], [1, 1], [1, 1], max_rank=2)
  assert alone.cmc.tolist() == [1, 1]


def test_queries_without_a_match_do_not_count():
  got = score([[1, 2]] * 2, [1, 9], [0, 0], [1, 2], [1, 1], max_rank=1)
  assert got.cmc.tolist() == [1]
  assert got.num_valid == 1
  with pytest.raises(UserError, match="no query has a match"):
    score([[1, 2]], [9], [0], [1, 2], [1, 1])


class TestDraws:
  def problem(self):
    rng = generator(7)
    return (
      rng.random((20, 60)),
      rng.integers(0, 12, 20),
      [0] * 20,
      rng.integers(0, 12, 60),
      [1] * 60,
    )

  def test_the_seed_decides_and_the_block_does_not(self):
    base = score(*self.problem(), seed=3)
    for block in (1, 7, 100):
      same = score(*self.problem(), seed=3, block=block)
      np.testing.assert_array_equal(same.by_trial, base.by_trial)
    other = score(*self.problem(), seed=4)
    assert (other.by_trial != base.by_trial).any()

  def test_all_queries_of_a_trial_see_one_gallery(self):
    # The first image of person 1 being drawn is good for query 0 and bad for
    # query 1, so that one of them finds its person at rank 1 in any trial.
    dist = [[0, 2, 1], [0, 2, 1]]
    got = score(
      dist, [1, 2], [0, 0], [1, 1, 2], [1, 1, 1], max_rank=1, trials=30
    )
    assert (got.by_trial == 0.5).all()

  def test_a_generator_moves_on(self):
    rng = np.random.Generator(np.random.Philox(3))
    first = score(*self.problem(), seed=rng)
    second = score(*self.problem(), seed=rng)
    by_number = score(*self.problem(), seed=3)
    np.testing.assert_array_equal(first.by_trial, by_number.by_trial)
    assert (first.by_trial != second.by_trial).any()

  def test_persons_may_be_text(self):
    dist, q_pid, q_camid, g_pid, g_camid = self.problem()
    as_text = score(
      dist,
      [f"p{pid:02d}" for pid in q_pid],
      q_camid,
      [f"p{pid:02d}" for pid in g_pid],
      g_camid,
    )
    numbers = score(dist, q_pid, q_camid, g_pid, g_camid)
    np.testing.assert_array_equal(as_text.by_trial, numbers.by_trial)


def test_memory_is_bounded_by_the_block():
  rng = generator(1)
  q_pid, g_pid = rng.integers(0, 99, 1000), rng.integers(0, 99, 3000)
  tracemalloc.start()
  single_shot_cmc(
    lambda start, stop: np.ones((stop - start, 3000)),
    1000,
    q_pid,
    [0] * 1000,
    g_pid,
    [1] * 3000,
    block=20,
  )
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  # A block is 0.5 MB, the draws 0.7 MB, all distances would be 24 MB.
  assert peak < 3e6


def test_nan_and_wrong_numbers_are_refused():
  with pytest.raises(UserError, match="query 1 hold NaN"):
    score([[1, 2], [1, np.nan]], [1, 2], [0, 0], [1, 2], [1, 1])
  for wrong in ({"max_rank": 0}, {"trials": 0}):
    with pytest.raises(ValueError, match="both are at least 1"):
      score([[1, 2]], [1], [0], [1, 2], [1, 1], **wrong)
