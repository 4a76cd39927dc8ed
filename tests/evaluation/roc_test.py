from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from metabin_jax.evaluation import roc
from metabin_jax.evaluation.ranking import rank_distances


def collect(genuine, impostors, fprs, rows=1) -> roc.Roc:
  collector = roc.RocCollector(fprs, len(impostors))
  for part in np.array_split(np.asarray(impostors, float), rows):
    collector.add([], np.sort(part))
  collector.add(np.asarray(genuine, float), np.empty(0))
  return collector.finish()


def test_by_hand():
  got = collect([0.1, 0.2, 0.3, 0.4], [0.15, 0.25, 0.35, 0.9], (0.25, 0.5))
  # One impostor may pass: the threshold lies just below 0.25.
  assert got.rates == ((0.25, 2 / 4), (0.5, 3 / 4))
  assert got.fpr.tolist() == [0, 0.25, 0.5]
  assert got.tpr.tolist() == [0.25, 0.5, 0.75]
  np.testing.assert_allclose(got.threshold, [0.15, 0.25, 0.35])
  assert (got.threshold < [0.15, 0.25, 0.35]).all()
  assert (got.num_genuine, got.num_impostor) == (4, 4)


def test_a_rate_that_allows_less_than_one_impostor_is_not_available():
  got = collect([0.1], [0.2, 0.3, 0.4], (0.3, 1 / 3, 0.34))
  assert [tpr for _, tpr in got.rates] == [None, None, 1.0]


def test_a_genuine_pair_at_an_impostors_distance_comes_after_it():
  got = collect([0.1, 0.2, 0.2], [0.05, 0.2, 0.3], (0.4, 0.7))
  # 0.4 allows one impostor; to accept 0.2 means to accept two.
  assert got.rates == ((0.4, 1 / 3), (0.7, 1.0))


def test_impostors_that_tie_are_left_out_together():
  got = collect([0.1, 0.3], [0.2, 0.2, 0.2, 0.5], (0.5, 0.75))
  assert got.rates == ((0.5, 0.5), (0.75, 1.0))
  # Two of the three would pass at 0.5, which no threshold can do.
  assert got.fpr.tolist() == [0, 0.75]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_outside_of_0_to_1_are_refused(rate):
  with pytest.raises(ValueError, match="rates lie between 0 and 1"):
    rank_distances(np.ones((1, 2)), [1], [0], [1, 2], [1, 1], fprs=(0.1, rate))


def test_rates_are_read_as_they_are_written():
  # 0.29 * 100 is 28.999999999999996 in floating point.
  assert roc.num_allowed(0.29, 100) == 29
  assert roc.num_allowed(1e-3, 1000) == 1
  assert roc.num_allowed(1e-3, 999) == 0


def test_infinite_distances():
  got = collect([0.1, np.inf], [0.2, np.inf, np.inf], (0.4, 0.7))
  assert got.rates == ((0.4, 0.5), (0.7, 0.5))


def test_queries_that_are_not_valid_give_no_pairs():
  got = rank_distances(
    np.array([[0.1, 0.9], [0.0, 0.0], [0.0, 0.0]]),
    [1, 3, 2],
    [0, 0, 5],
    [1, 2],
    [1, 5],
    fprs=(0.5,),
  )
  assert (got.roc.num_genuine, got.roc.num_impostor) == (1, 1)
  assert rank_distances(np.ones((1, 1)), [1], [0], [1], [1]).roc is None


def test_no_pairs_at_all():
  empty = np.empty((0, 3))
  got = rank_distances(
    empty, np.empty(0, int), [], [1, 2, 3], [0] * 3, fprs=[0.1]
  )
  assert got.roc.rates == ((0.1, None),)
  assert got.roc.fpr.size == 0
  only_matches = rank_distances(np.ones((1, 1)), [1], [0], [1], [1], fprs=[0.1])
  assert only_matches.roc.rates == ((0.1, None),)


class TestManyPairs:
  """What is held is far less than what is seen."""

  def rows(self, levels):
    rng = np.random.Generator(np.random.Philox(key=[9, 0]))
    impostors = rng.random((400, 1000)) * 2
    genuine = rng.random(3000)
    if levels:
      impostors, genuine = (np.floor(x * levels) for x in (impostors, genuine))
    return genuine, np.sort(impostors)

  @pytest.mark.parametrize("levels", [None, 50])
  @pytest.mark.parametrize("room", [1, 2**16])
  def test_the_same_as_all_at_once(self, levels, room, monkeypatch):
    monkeypatch.setattr(roc, "_LEAST_ROOM", room)
    genuine, rows = self.rows(levels)
    fprs = (1e-5, 0.00347, 0.01)
    collector = roc.RocCollector(fprs, rows.size)
    for row in rows[::-1]:  # not from near to far
      collector.add(np.empty(0), row)
    collector.add(genuine, np.empty(0))
    got = collector.finish()
    ordered = np.sort(rows, axis=None)
    for rate, tpr in got.rates:
      edge = ordered[round(rate * rows.size)]
      assert tpr == (genuine < edge).mean(), rate
    assert len(got.fpr) <= 184
    for fpr, threshold in zip(got.fpr, got.threshold, strict=True):
      assert fpr == (ordered <= threshold).mean()
    if not levels:
      assert {1e-5, 0.00347, 0.01} <= set(got.fpr)
      assert got.fpr[-1] == 0.01
      assert (got.fpr <= 1e-4).sum() > 20
      steps = np.diff(np.log10(got.fpr[80:]))
      assert steps.max() < 0.03  # even in log(FPR)

  def test_memory_hangs_on_the_rate_and_not_on_the_pairs(self):
    _, rows = self.rows(None)
    tracemalloc.start()
    collector = roc.RocCollector((0.01,), rows.size)
    for row in rows:
      collector.add(np.empty(0), row)
    collector.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 4,000 pairs decide, 400,000 are seen (3.2 MB).
    assert peak < 0.8e6


class TestMatchers:
  def perfect(self, number=316):
    rng = np.random.Generator(np.random.Philox(key=[9, 1]))
    dist = 1 + rng.random((number, number))
    np.fill_diagonal(dist, rng.random(number) / 2)
    return dist, np.arange(number)

  def test_a_perfect_matcher_gets_one_and_swapped_labels_give_it_zero(self):
    dist, pid = self.perfect()
    fprs = (1e-4, 1e-3, 1e-2)
    got = rank_distances(dist, pid, [0] * 316, pid, [1] * 316, fprs=fprs)
    assert got.roc.rates == tuple((rate, 1.0) for rate in fprs)
    assert (got.roc.tpr == 1).all()
    genuine = np.diag(dist)
    impostors = dist[~np.eye(316, dtype=bool)]
    swapped = [peers_rate(genuine, impostors, rate) for rate in fprs]
    assert swapped == [0.0, 0.0, 1.0]

  def test_a_matcher_by_chance_accepts_both_kinds_alike(self):
    rng = np.random.Generator(np.random.Philox(key=[9, 2]))
    pid = np.arange(1000) % 50
    got = rank_distances(
      rng.random((1000, 1000)),
      pid,
      [0] * 1000,
      pid,
      [1] * 1000,
      fprs=(0.01, 0.1),
    )
    for rate, tpr in got.roc.rates:
      # 20,000 genuine pairs: four standard deviations.
      assert abs(tpr - rate) < 4 * np.sqrt(rate * (1 - rate) / 20_000)
    # The expected rank-1 of 20 matches among 1,000.
    assert (got.first_rank == 1).mean() == pytest.approx(0.02, abs=0.018)


def peers_rate(genuine, impostors, rate):
  """TPR@FPR as evaluations with the labels of the pairs swapped report it.

  Impostor pairs count as positive and a large distance as a sign of them, so
  the "FPR" is a share of genuine pairs; the point of the curve that is nearest
  to the rate is taken, the first of equally near ones.
  """
  thresholds = np.r_[np.inf, np.unique(np.r_[genuine, impostors])[::-1]]
  fpr, tpr = (
    1 - np.searchsorted(np.sort(kind), thresholds) / kind.size
    for kind in (genuine, impostors)
  )
  return float(tpr[np.argmin(np.abs(fpr - rate))])
