"""Single queries and the first images that their ranking finds for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from metabin_jax.evaluation.evaluate import Labels
from metabin_jax.evaluation.matches import Matches
from metabin_jax.evaluation.ranking import Ranking

WORST, BEST, RANDOM = "worst", "best", "random"


class RankedList(NamedTuple):
  """The first images of one query.

  Attributes:
    query: row of the query.
    gallery: int64 [K] rows of the gallery, nearest first.
    distance: float64 [K].
    right: bool [K], whether the image shows the query's person.
  """

  query: int
  gallery: np.ndarray
  distance: np.ndarray
  right: np.ndarray


def choose_queries(
  ranking: Ranking, number: int, seed: int = 0
) -> dict[str, list[int]]:
  """Queries to look at.

  Args:
    ranking: of a fold.
    number: of each kind; fewer if there are fewer valid queries.
    seed: of the draw.

  Returns:
    {"random": rows drawn among the valid queries, which is what a user will
    meet; "worst": those of least average precision, worst first; "best": those
    of highest}. Ties go by row. A query may be of several kinds.
  """
  valid = np.flatnonzero(ranking.valid)
  number = min(number, valid.size)
  by_ap = valid[np.argsort(ranking.ap[valid], kind="stable")]
  from_best = valid[np.argsort(-ranking.ap[valid], kind="stable")]
  drawn = np.random.default_rng(seed).permutation(valid)[:number]
  return {
    RANDOM: np.sort(drawn).tolist(),
    WORST: by_ap[:number].tolist(),
    BEST: from_best[:number].tolist(),
  }


def list_first(
  queries: Sequence[int],
  distances: Callable[[int, int], np.ndarray],
  labels: Labels,
  *,
  count: int = 10,
  cross_camera: bool = True,
) -> list[RankedList]:
  """The first gallery images of queries.

  Args:
    queries: rows.
    distances: `distances(start, stop)` of those queries, [stop - start, G].
    labels: persons and cameras of the queries, then of the gallery.
    count: K; fewer if the gallery is smaller.
    cross_camera: leave out images of the query's person and camera, which the
      ranking leaves out too.

  Returns:
    A list for each query. At equal distance another person comes first, as in
    the ranking.
  """
  matches = Matches(len(labels[0]), *labels, cross_camera=cross_camera)
  lists = []
  for query in queries:
    row = np.array(distances(query, query + 1)[0], np.float64)
    same, kept = matches.of(query)
    right = np.zeros(row.size, bool)
    right[same[kept]] = True
    shown = np.ones(row.size, bool)
    shown[same[~kept]] = False
    order = np.lexsort((right, row))
    first = order[shown[order]][:count]
    lists.append(RankedList(query, first, row[first], right[first]))
  return lists
