from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.evaluation.average_precision import (
  AP_CONVENTIONS,
  average_precision,
)


def test_one_match_at_rank_5():
  """The three numbers that the same ranking gets in three papers."""
  got = [average_precision(np.array([5]), name) for name in AP_CONVENTIONS]
  assert got == pytest.approx([1 / 5, 1 / 10, 6 / 10])


def test_several_matches_by_hand():
  ranks = np.array([2, 3, 5])
  got = {name: average_precision(ranks, name) for name in AP_CONVENTIONS}
  after = [1 / 2, 2 / 3, 3 / 5]
  before = [0 / 1, 1 / 2, 2 / 4]
  assert got["interpolation-free"] == pytest.approx(sum(after) / 3)
  assert got["trapezoid"] == pytest.approx(sum(before + after) / 6)
  assert got["mar"] == pytest.approx((1 + sum(before + after)) / 6)


def test_a_first_match_at_rank_1_makes_trapezoid_and_mar_equal():
  ranks = np.array([1, 4, 9])
  trapezoid = average_precision(ranks, "trapezoid")
  assert trapezoid == average_precision(ranks, "mar")
  want = ((1 + 1) + (1 / 3 + 2 / 4) + (2 / 8 + 3 / 9)) / 6
  assert trapezoid == pytest.approx(want)


@pytest.mark.parametrize("convention", AP_CONVENTIONS)
def test_all_matches_in_front_give_one(convention):
  assert average_precision(np.arange(1, 8), convention) == 1.0


def test_the_usual_convention_is_the_default():
  ranks = np.array([2, 7])
  usual = average_precision(ranks, "interpolation-free")
  assert average_precision(ranks) == usual


def test_an_unknown_convention_is_refused():
  with pytest.raises(ValueError, match="'interpolation-free', 'trapezoid'"):
    average_precision(np.array([1]), "11-point")
