from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.evaluation.matches import Matches, Reason

LABELS = ([1, 2, 3], [0, 0, -1], [2, 1, 1, 2, 1, 3], [0, 0, 1, 0, -1, 7])


def test_matches_and_junk_by_hand():
  got = Matches(3, *LABELS, cross_camera=True)
  rows, kept = got.of(0)
  assert rows.tolist() == [1, 2, 4]
  assert kept.tolist() == [False, True, True]
  assert got.of(1).kept.tolist() == [False, False]
  assert got.of(2) == (np.array([5]), np.array([True]))
  assert got.num_same.tolist() == [3, 2, 1]
  assert got.num_matches.tolist() == [2, 0, 1]
  assert got.reason.tolist() == [
    Reason.VALID,
    Reason.SAME_CAMERA,
    Reason.VALID,
  ]
  assert got.num_gallery == 6


def test_without_cross_camera_there_is_no_junk():
  got = Matches(3, *LABELS, cross_camera=False)
  assert got.num_matches.tolist() == [3, 2, 1]


def test_a_person_that_is_not_in_the_gallery():
  got = Matches(1, [4], [0], *LABELS[2:], cross_camera=True)
  assert got.reason.tolist() == [Reason.NO_MATCH]
  assert got.of(0).rows.size == 0


def test_wrong_numbers_of_labels_are_refused():
  with pytest.raises(ValueError, match="2 queries and 6 gallery images"):
    Matches(2, *LABELS, cross_camera=True)
