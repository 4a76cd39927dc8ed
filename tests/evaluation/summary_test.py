from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation.ranking import Ranking, Reason
from metabin_jax.evaluation.roc import Roc
from metabin_jax.evaluation.summary import (
  cmc,
  combine_folds,
  explain_invalid,
  summarize,
)


def make_ranking(
  first, *, reason=None, pid=None, camid=None, **more
) -> Ranking:
  """A single-match ranking: AP = INP = 1 / rank."""
  first = np.array(first)
  valid = first > 0
  share = np.where(valid, 1 / np.maximum(first, 1), 0.0)
  if reason is None:
    reason = np.where(valid, Reason.VALID, Reason.NO_MATCH)
  return Ranking(
    first_rank=first,
    ap=share,
    inp=share,
    num_matches=valid.astype(int),
    reason=np.array(reason, np.int8),
    pid=np.arange(len(first)) if pid is None else np.array(pid),
    camid=np.zeros(len(first), int) if camid is None else np.array(camid),
    **more,
  )


def make_roc(*rates) -> Roc:
  return Roc(7, 50, rates, *[np.zeros(1)] * 3)


def test_summarize_by_hand():
  got = summarize(make_ranking([1, 2, 5, 11, 0]))
  assert got == {
    "rank-1": 0.25,
    "rank-5": 0.75,
    "rank-10": 0.75,
    "mAP": pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 11) / 4),
    "mINP": pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 11) / 4),
    "num_query": 5,
    "num_valid": 4,
    "invalid_no_match": 1,
    "invalid_same_camera": 0,
  }
  assert all(type(value) in (int, float) for value in got.values())


def test_another_ap_convention_has_another_name():
  got = summarize(make_ranking([1, 2], ap_convention="trapezoid"))
  assert got["mAP (trapezoid)"] == 0.75
  assert "mAP" not in got


def test_rates_of_a_roc():
  ranking = make_ranking([1, 2], roc=make_roc((1e-4, None), (0.05, 0.75)))
  got = summarize(ranking, ranks=(1,))
  assert list(got)[:5] == [
    "rank-1",
    "mAP",
    "mINP",
    "TPR@FPR=0.0001",
    "TPR@FPR=0.05",
  ]
  assert got["TPR@FPR=0.0001"] is None
  assert got["TPR@FPR=0.05"] == 0.75
  assert (got["num_genuine"], got["num_impostor"]) == (7, 50)


def test_a_rate_that_one_fold_cannot_resolve_is_unknown_for_all():
  folds = [
    summarize(make_ranking([1, 2], roc=make_roc((0.01, low), (0.1, 0.5))))
    for low in (0.5, None, 0.25)
  ]
  got = combine_folds(folds)
  assert got["TPR@FPR=0.01"] is got["TPR@FPR=0.01/std"] is None
  assert (got["TPR@FPR=0.1"], got["TPR@FPR=0.1/std"]) == (0.5, 0.0)
  assert (got["num_genuine"], got["num_impostor"]) == (21, 150)


def test_ranks_can_be_chosen_and_may_exceed_the_gallery():
  got = summarize(make_ranking([3]), ranks=(2, 3, 500))
  assert [got["rank-2"], got["rank-3"], got["rank-500"]] == [0, 1, 1]
  with pytest.raises(ValueError, match="best rank is 1"):
    summarize(make_ranking([3]), ranks=(0, 1))


def test_cmc_is_over_valid_queries():
  got = cmc(make_ranking([1, 3, 3, 99, 0, 0]), 4)
  np.testing.assert_array_equal(got, [0.25, 0.25, 0.75, 0.75])
  with pytest.raises(ValueError, match="best rank is 1"):
    cmc(make_ranking([1]), 0)


def test_combine_folds_by_hand():
  folds = [summarize(make_ranking(first)) for first in ([1, 1], [1, 2], [2, 2])]
  got = combine_folds(folds)
  assert got["rank-1"] == pytest.approx(0.5)
  assert got["rank-1/std"] == pytest.approx(np.std([1, 0.5, 0]))  # ddof 0
  assert got["mAP"] == pytest.approx(0.75)
  assert (got["num_query"], got["num_valid"], got["folds"]) == (6, 6, 3)


def test_equal_folds_have_a_spread_of_exactly_zero():
  fold = summarize(make_ranking([1, 2, 3, 3, 3, 7, 9]))
  got = combine_folds([fold] * 10)
  assert got["mAP/std"] == 0
  assert got["mAP"] == fold["mAP"]


def test_combine_folds_refuses_nothing_and_unlike_folds():
  with pytest.raises(ValueError, match="no folds"):
    combine_folds([])
  one = summarize(make_ranking([1]))
  with pytest.raises(ValueError, match="fold 1 has entries"):
    combine_folds([one, summarize(make_ranking([1]), ranks=(1, 2))])


class TestExplainInvalid:
  def test_nothing_to_say(self):
    assert explain_invalid(make_ranking([1, 2])) == ""

  def test_all_share_one_camera(self):
    bad = make_ranking(
      [0] * 120, reason=[Reason.SAME_CAMERA] * 120, camid=[0] * 120
    )
    text = explain_invalid(bad)
    assert "all 120 queries share camera 0 with their gallery matches" in text
    assert "pass --cross-camera=off" in text

  def test_three_examples_with_names(self):
    bad = make_ranking(
      [0, 1, 0, 0, 0],
      pid=["a/7", "a/1", "a/8", "a/9", "a/10"],
      camid=[2, 0, -1, 0, 0],
    )
    text = explain_invalid(bad, names=[f"{i}.jpg" for i in range(5)])
    assert "4 of 5 queries have no image of the person in the gallery" in text
    assert "0.jpg: person a/7, camera 2" in text
    assert "2.jpg: person a/8, unknown camera" in text
    assert "3.jpg" in text
    assert "4.jpg" not in text

  def test_both_reasons_get_a_sentence_each(self):
    bad = make_ranking(
      [0, 0, 1],
      reason=[Reason.NO_MATCH, Reason.SAME_CAMERA, Reason.VALID],
      camid=[4, 5, 0],
    )
    text = explain_invalid(bad)
    assert "1 of 3 queries has no image" in text
    assert "1 of 3 queries shares camera 5 with its gallery matches" in text

  def test_several_cameras(self):
    bad = make_ranking([0, 0], reason=[Reason.SAME_CAMERA] * 2, camid=[1, 2])
    assert "matches only from their own camera" in explain_invalid(bad)

  def test_no_valid_query_is_a_user_error_with_the_reason(self):
    bad = make_ranking([0, 0], reason=[Reason.SAME_CAMERA] * 2)
    for score in (summarize, lambda ranking: cmc(ranking, 5)):
      with pytest.raises(UserError, match="--cross-camera=off"):
        score(bad)
    with pytest.raises(UserError, match="no queries"):
      summarize(make_ranking(np.zeros(0, int)))
