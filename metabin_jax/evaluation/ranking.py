"""Ranks of the right answers, and what follows from them: CMC, AP and INP.

No ranking is ever sorted out in full. Average precision, the CMC curve and
the inverse negative penalty need only the ranks of the matching gallery
images, and a rank is a count: 1 + how many kept gallery images come earlier.

Tie rule, PESSIMISTIC: at equal distance an image of another person comes
before a match, so equal distances never flatter a model (a model that maps
every image to one point gets the worst score that its gallery allows).

Copies of one image really tie: see exact_distances.py.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation.exact_distances import make_distances

UNKNOWN_CAMERA = -1

_BLOCK_BYTES = 2**26


class Reason(enum.IntEnum):
  """Why a query counts, or why it can not."""

  VALID = 0
  NO_MATCH = 1
  """No image of the person in the gallery."""
  SAME_CAMERA = 2
  """Images of the person in the gallery, all from the query's own camera."""


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Per query results; every array has Q entries in the order of the queries.

  Attributes:
    first_rank: int64, rank of the first match, from 1; 0 = invalid query.
    ap: float64, average precision in [0, 1]; 0 for an invalid query.
    inp: float64, inverse negative penalty in [0, 1]; 0 for an invalid query.
    num_matches: int64, matching gallery images that were kept.
    reason: int8, a `Reason`.
    pid: person of each query, as it was passed in.
    camid: int64, camera of each query, `UNKNOWN_CAMERA` if not known.
  """

  first_rank: np.ndarray
  ap: np.ndarray
  inp: np.ndarray
  num_matches: np.ndarray
  reason: np.ndarray
  pid: np.ndarray
  camid: np.ndarray

  @property
  def valid(self) -> np.ndarray:
    """Bool [Q]: the query has a match left to find."""
    return self.reason == Reason.VALID


def rank_queries(
  query_emb: np.ndarray,
  gallery_emb: np.ndarray,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  *,
  metric: str = "cosine",
  cross_camera: bool = True,
  block: int | None = None,
) -> Ranking:
  """Ranks the gallery for every query, a block of queries at a time.

  Peak extra memory: one float32 copy of the embeddings plus O(block x G).

  Args:
    query_emb: [Q, D] embeddings, any real dtype.
    gallery_emb: [G, D] embeddings.
    q_pid: [Q] persons, integers or strings.
    q_camid: [Q] cameras, -1 where unknown.
    g_pid: [G] persons, of the same kind as `q_pid`.
    g_camid: [G] cameras, -1 where unknown.
    metric: "cosine" (1 - cosine of the angle) or "euclidean". Euclidean
      embeddings are resolved to 2**-24 of the largest norm among them.
    cross_camera: drop, for each query, the gallery images of the same person
      from the same camera. An unknown camera on either side drops nothing.
    block: queries per block; None chooses about 64 MiB of distances. The
      result does not depend on it.

  Returns:
    A `Ranking`.

  Raises:
    UserError: if an embedding is not finite.
    ValueError: if shapes disagree or the metric is unknown.

  Source: MetaBIN evaluation protocol, reference fastreid/evaluation/rank.py,
    `eval_market1501`. Differs: ties are defined (see the module's text);
    tests/evaluation/ranking_test.py pins them.
  """
  distances = make_distances(query_emb, gallery_emb, metric)
  return _rank(
    distances,
    len(query_emb),
    q_pid,
    q_camid,
    g_pid,
    g_camid,
    cross_camera,
    block,
  )


def rank_distances(
  dist: np.ndarray,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  *,
  cross_camera: bool = True,
  block: int | None = None,
) -> Ranking:
  """Ranks from a ready [Q, G] distance matrix; see `rank_queries`.

  Args:
    dist: [Q, G], smaller = more alike; infinities are allowed, NaN is not.
    q_pid: [Q] persons, integers or strings.
    q_camid: [Q] cameras, -1 where unknown.
    g_pid: [G] persons.
    g_camid: [G] cameras, -1 where unknown.
    cross_camera: as in `rank_queries`.
    block: queries per block.

  Returns:
    A `Ranking`.

  Raises:
    UserError: if a distance is NaN.
    ValueError: if shapes disagree.
  """
  dist = np.asarray(dist)
  if dist.ndim != 2 or dist.shape[1] != len(g_pid):
    raise ValueError(
      f"distances have shape {dist.shape}, want "
      f"({len(q_pid)}, {len(g_pid)}) for these queries and gallery."
    )

  def distances(start: int, stop: int) -> np.ndarray:
    rows = dist[start:stop].copy()
    bad = np.isnan(rows).any(axis=1)
    if bad.any():
      raise UserError(
        f"distances of query {start + int(bad.argmax())} hold NaN; rank only "
        "finite distances (check the model's weights for NaN)."
      )
    return rows

  return _rank(
    distances, len(dist), q_pid, q_camid, g_pid, g_camid, cross_camera, block
  )


def _rank(
  distances: Callable[[int, int], np.ndarray],
  num_query: int,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  cross_camera: bool,
  block: int | None,
) -> Ranking:
  """Runs over blocks of queries; overwrites what `distances` returns."""
  q_pid, g_pid = np.asarray(q_pid), np.asarray(g_pid)
  q_camid = np.asarray(q_camid, dtype=np.int64)
  g_camid = np.asarray(g_camid, dtype=np.int64)
  num_gallery = len(g_pid)
  if (
    q_pid.shape != (num_query,)
    or q_camid.shape != (num_query,)
    or g_camid.shape != g_pid.shape
  ):
    raise ValueError(
      f"{num_query} queries and {num_gallery} gallery images need as many "
      f"persons and cameras; got {q_pid.shape} and {q_camid.shape} for "
      f"queries, {g_pid.shape} and {g_camid.shape} for the gallery."
    )
  if block is None:
    block = _BLOCK_BYTES // (8 * max(1, num_gallery))
  block = max(1, block)
  same_person = _group_by_person(q_pid, g_pid)

  first_rank = np.zeros(num_query, np.int64)
  ap = np.zeros(num_query)
  inp = np.zeros(num_query)
  num_matches = np.zeros(num_query, np.int64)
  reason = np.full(num_query, Reason.NO_MATCH, np.int8)
  for start in range(0, num_query, block):
    stop = min(start + block, num_query)
    dist = distances(start, stop)
    for index in range(start, stop):
      same = same_person(index)
      if not same.size:
        continue
      camera = q_camid[index]
      dropped = np.zeros(same.size, bool)
      if cross_camera and camera != UNKNOWN_CAMERA:
        dropped = g_camid[same] == camera
      if dropped.all():
        reason[index] = Reason.SAME_CAMERA
        continue
      ranks = _ranks_of_matches(dist[index - start], same, dropped)
      found = np.arange(1, ranks.size + 1)
      reason[index] = Reason.VALID
      num_matches[index] = ranks.size
      first_rank[index] = ranks[0]
      ap[index] = np.mean(found / ranks)
      inp[index] = ranks.size / ranks[-1]
    del dist  # before the next block is made: never two at a time
  return Ranking(first_rank, ap, inp, num_matches, reason, q_pid, q_camid)


def _ranks_of_matches(
  dist: np.ndarray, same: np.ndarray, dropped: np.ndarray
) -> np.ndarray:
  """Ranks, from 1 and rising, of the kept gallery images of the person.

  Args:
    dist: [G] distances of one query; sorted in place.
    same: [S] indices of the gallery images of the person.
    dropped: bool [S], those of them that do not count.

  Returns:
    int64, one rank for each kept image.
  """
  values = dist[same]
  matches = np.sort(values[~dropped])
  dist.sort()
  # Images of other persons at or before each match: all that lie there, less
  # those dropped, less the matches themselves.
  others = np.searchsorted(dist, matches, side="right")
  others -= np.searchsorted(np.sort(values[dropped]), matches, side="right")
  others -= np.searchsorted(matches, matches, side="right")
  return others + np.arange(1, matches.size + 1)


def _group_by_person(
  q_pid: np.ndarray, g_pid: np.ndarray
) -> Callable[[int], np.ndarray]:
  """Returns `same(query) -> indices of the gallery images of its person`."""
  if (q_pid.dtype.kind in "US") != (g_pid.dtype.kind in "US"):
    raise ValueError(
      f"query persons are {q_pid.dtype} and gallery persons {g_pid.dtype}; "
      "write both as numbers or both as text."
    )
  order = np.argsort(g_pid, kind="stable")
  ordered = g_pid[order]
  low = np.searchsorted(ordered, q_pid, side="left")
  high = np.searchsorted(ordered, q_pid, side="right")
  return lambda index: order[low[index] : high[index]]
