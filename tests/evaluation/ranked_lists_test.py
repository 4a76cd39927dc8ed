"""Which queries are shown, and the first images of each."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.evaluation import ranked_lists, ranking

# Four queries of persons 0 to 3, all from camera 0.
Q_PID, Q_CAM = np.arange(4), np.zeros(4, int)
G_PID = np.array([0, 0, 1, 1, 2, 9])
G_CAM = np.array([1, 0, 1, 1, 1, 2])
DISTANCES = np.array(
  [
    # The second image is of person 0 and camera 0: no part of any list.
    [0.5, 0.1, 0.5, 0.9, 0.2, 0.7],
    [0.9, 0.8, 0.1, 0.2, 0.7, 0.6],
    [0.1, 0.2, 0.3, 0.4, 0.9, 0.5],
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # person 3 is not in the gallery
  ]
)
LABELS = (Q_PID, Q_CAM, G_PID, G_CAM)


def rows(start, stop):
  return DISTANCES[start:stop].copy()


@pytest.fixture(name="ranked")
def ranked_fixture():
  return ranking.rank_distances(DISTANCES, *LABELS)


def test_kinds_of_queries(ranked):
  assert ranked.valid.tolist() == [True, True, True, False]
  assert ranked.ap[1] > ranked.ap[0] > ranked.ap[2]
  chosen = ranked_lists.choose_queries(ranked, 2)
  assert list(chosen) == ["random", "worst", "best"]
  assert chosen["worst"] == [2, 0]
  assert chosen["best"] == [1, 0]
  drawn = {
    tuple(ranked_lists.choose_queries(ranked, 2, seed)["random"])
    for seed in range(20)
  }
  assert drawn == {(0, 1), (0, 2), (1, 2)}
  assert chosen == ranked_lists.choose_queries(ranked, 2)
  # No more than there are, and none that could not be scored.
  many = ranked_lists.choose_queries(ranked, 9)
  assert sorted(many["worst"]) == many["random"] == [0, 1, 2]


def test_first_images():
  (found,) = ranked_lists.list_first([0], rows, LABELS, count=4)
  # At 0.5 the other person comes before the match.
  assert found.gallery.tolist() == [4, 2, 0, 5]
  assert found.distance.tolist() == [0.2, 0.5, 0.5, 0.7]
  assert found.right.tolist() == [False, False, True, False]


def test_lists_agree_with_the_ranking(ranked):
  lists = ranked_lists.list_first([0, 1, 2], rows, LABELS)
  first = [int(np.argmax(found.right)) + 1 for found in lists]
  assert first == ranked.first_rank[:3].tolist()
  assert [int(f.right.sum()) for f in lists] == ranked.num_matches[:3].tolist()


def test_same_camera_counts_when_it_does_in_the_scores():
  (found,) = ranked_lists.list_first(
    [0], rows, LABELS, count=1, cross_camera=False
  )
  assert found.gallery.tolist() == [1]
  assert found.right.tolist() == [True]
