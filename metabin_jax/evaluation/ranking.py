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

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metabin_jax.evaluation.average_precision import INTERPOLATION_FREE
from metabin_jax.evaluation.exact_distances import make_distances
from metabin_jax.evaluation.matches import (
  UNKNOWN_CAMERA,
  Matches,
  Reason,
  nan_error,
)
from metabin_jax.evaluation.scores import Ranking, Scores

__all__ = [
  "UNKNOWN_CAMERA",
  "Ranking",
  "Reason",
  "rank_blocks",
  "rank_distances",
  "rank_queries",
]

# A matrix product of few rows is slow; of more rows, it wants more memory.
_BLOCK_BYTES = 2**27
_FEWEST_QUERIES = 384


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
  ap: str = INTERPOLATION_FREE,
  fprs: Sequence[float] = (),
  block: int | None = None,
) -> Ranking:
  """Ranks the gallery for every query, a block of queries at a time.

  Peak extra memory: one float32 copy of the embeddings, O(block x G), and with
  `fprs` 16 bytes for each impostor pair that the highest of them allows.

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
    ap: one of `average_precision.AP_CONVENTIONS`.
    fprs: false positive rates, each in (0, 1), at which the true positive rate
      is wanted; none: no ROC.
    block: queries per block; None chooses up to 128 MiB of distances, or 384
      queries if these need more. The result does not depend on it.

  Returns:
    A `Ranking`.

  Raises:
    UserError: if an embedding is not finite.
    ValueError: if shapes disagree or a metric, convention or rate is unknown.

  Source: MetaBIN evaluation protocol, reference fastreid/evaluation/rank.py,
    `eval_market1501`. Differs: ties are defined (see the module's text);
    tests/evaluation/ranking_test.py pins them.
  """
  return rank_blocks(
    make_distances(query_emb, gallery_emb, metric),
    len(query_emb),
    q_pid,
    q_camid,
    g_pid,
    g_camid,
    cross_camera=cross_camera,
    ap=ap,
    fprs=fprs,
    block=block,
  )


def rank_distances(
  dist: np.ndarray,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  *,
  cross_camera: bool = True,
  ap: str = INTERPOLATION_FREE,
  fprs: Sequence[float] = (),
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
    ap: as in `rank_queries`.
    fprs: as in `rank_queries`.
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
  floating = np.result_type(dist, np.float32)
  return rank_blocks(
    lambda start, stop: dist[start:stop].astype(floating),
    len(dist),
    q_pid,
    q_camid,
    g_pid,
    g_camid,
    cross_camera=cross_camera,
    ap=ap,
    fprs=fprs,
    block=block,
  )


def rank_blocks(
  distances: Callable[[int, int], np.ndarray],
  num_query: int,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  *,
  cross_camera: bool = True,
  ap: str = INTERPOLATION_FREE,
  fprs: Sequence[float] = (),
  block: int | None = None,
) -> Ranking:
  """Ranks from distances that are made a block of queries at a time.

  Args:
    distances: `distances(start, stop)` returns the [stop - start, G] distances
      of those queries, float32 or float64, which will be overwritten. It is
      called once for each block, in order.
    num_query: Q.
    q_pid: [Q] persons, integers or strings.
    q_camid: [Q] cameras, -1 where unknown.
    g_pid: [G] persons.
    g_camid: [G] cameras, -1 where unknown.
    cross_camera: as in `rank_queries`.
    ap: as in `rank_queries`.
    fprs: as in `rank_queries`.
    block: queries per block.

  Returns:
    A `Ranking`.

  Raises:
    UserError: if a distance of a valid query is NaN.
    ValueError: if shapes disagree or a convention or rate is unknown.
  """
  matches = Matches(
    num_query, q_pid, q_camid, g_pid, g_camid, cross_camera=cross_camera
  )
  scores = Scores(matches, ap=ap, fprs=fprs)
  if block is None:
    block = choose_block(num_query, matches.num_gallery)
  if block < 1:
    raise ValueError(f"a block holds {block} queries; the least is 1.")
  for start in range(0, num_query, block):
    # In a function of its own: no view of a block may outlive it, or two
    # blocks would be in memory at a time.
    _rank_block(
      start, min(start + block, num_query), distances, matches, scores
    )
  return scores.ranking()


def _rank_block(
  start: int,
  stop: int,
  distances: Callable[[int, int], np.ndarray],
  matches: Matches,
  scores: Scores,
) -> None:
  """Adds the results of the queries from `start` to `stop` to `scores`."""
  dist = distances(start, stop)
  if dist.shape != (stop - start, matches.num_gallery):
    raise ValueError(
      f"distances of queries {start} to {stop} have shape {dist.shape}, want "
      f"({stop - start}, {matches.num_gallery})."
    )
  for index in range(start, stop):
    if matches.reason[index] != Reason.VALID:
      continue
    row = dist[index - start]
    same, kept = matches.of(index)
    values = row[same]
    genuine = np.sort(values[kept])
    # Images of the person go to the end, so that the rest is impostors.
    row[same] = np.inf
    row.sort()
    if np.isnan(row[-1]) or np.isnan(values).any():  # NaN sorts last
      raise nan_error(index)
    impostors = row[: row.size - same.size]
    nearer = np.searchsorted(impostors, genuine, side="right")
    scores.add(index, nearer + np.arange(1, genuine.size + 1))
    scores.add_pairs(genuine, impostors)


def choose_block(num_query: int, num_gallery: int) -> int:
  """Queries per block: blocks of one size, neither too large nor too small.

  Args:
    num_query: Q.
    num_gallery: G.

  Returns:
    At least 1; 8 bytes x G x this are at most 128 MiB or 384 queries.
  """
  most = max(_BLOCK_BYTES // (8 * max(1, num_gallery)), _FEWEST_QUERIES)
  num_blocks = max(1, math.ceil(num_query / most))
  return max(1, math.ceil(num_query / num_blocks))
