"""CMC with one gallery image for each person: the classic CUHK03 protocol.

In each of several trials one gallery image of every person is drawn, all with
the same chance, and the gallery consists of these alone; the draw is the same
for all queries of the trial. The person of the query itself is drawn from its
MATCHES: junk, the person's images from the query's own camera, is left out of
the draw and not only of the gallery, or a query could lose its only right
answer to chance. So every query that is valid is scored in every trial. The
CMC curve is the mean over the trials.

Images that share a label count as one person: label distractors singly if each
of them shall stand in the gallery. Ties are PESSIMISTIC as in ranking.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation.matches import Matches, Reason, nan_error

_BLOCK_BYTES = 2**26


class SingleShot(NamedTuple):
  """Result of the protocol.

  Attributes:
    cmc: float64 [max_rank], mean over the trials; entry k - 1 is the share of
      the valid queries whose match is among the k nearest.
    by_trial: float64 [trials, max_rank], the curve of each trial.
    num_valid: queries that were scored.
  """

  cmc: np.ndarray
  by_trial: np.ndarray
  num_valid: int


def single_shot_cmc(
  distances: Callable[[int, int], np.ndarray],
  num_query: int,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  *,
  max_rank: int = 50,
  trials: int = 10,
  seed: int | np.random.Generator = 0,
  cross_camera: bool = True,
  block: int | None = None,
) -> SingleShot:
  """CMC curve by the single-gallery-shot protocol; see the module's text.

  Extra memory: a block of distances, and 24 bytes for each trial and gallery
  image.

  Args:
    distances: as in `ranking.rank_blocks`, e.g. of `make_distances`.
    num_query: Q.
    q_pid: [Q] persons, integers or strings.
    q_camid: [Q] cameras, -1 where unknown.
    g_pid: [G] persons.
    g_camid: [G] cameras, -1 where unknown.
    max_rank: length of the curve, at least 1; it may exceed the persons.
    trials: number of draws, at least 1.
    seed: of the draws: any integer not below 0, or a generator, which moves on.
    cross_camera: as in `ranking.rank_queries`.
    block: queries per block; the result does not depend on it.

  Returns:
    A `SingleShot`.

  Raises:
    UserError: if no query is valid, or a distance of a valid query is NaN.
    ValueError: if shapes disagree, or `max_rank` or `trials` is below 1.

  Source: Li et al., "DeepReID", CVPR 2014; torchreid's `eval_cuhk03`.
    Differs: that draws anew for every query, and leaves ties open; the
    expected curve is the same. Pinned by single_shot_test.py.
  """
  if max_rank < 1 or trials < 1:
    raise ValueError(
      f"max_rank is {max_rank} and trials {trials}; both are at least 1."
    )
  matches = Matches(
    num_query, q_pid, q_camid, g_pid, g_camid, cross_camera=cross_camera
  )
  valid = np.flatnonzero(matches.reason == Reason.VALID)
  if not valid.size:
    raise UserError(
      "no query has a match in the gallery; check persons and cameras, or do "
      "not remove images of the same camera."
    )
  order = _draw_orders(trials, matches.num_gallery, seed)
  drawn = _first_of_each_person(order, np.asarray(g_pid))
  if block is None:
    block = max(1, _BLOCK_BYTES // (8 * matches.num_gallery))
  hits = np.zeros((trials, max_rank), np.int64)
  for start in range(0, num_query, block):
    stop = min(start + block, num_query)
    dist = distances(start, stop)
    for index in range(start, stop):
      if matches.reason[index] != Reason.VALID:
        continue
      row = dist[index - start]
      if np.isnan(row).any():
        raise nan_error(index)
      same, kept = matches.of(index)
      own = same[kept]
      match = row[own[order[:, own].argmin(axis=1)]]
      row[same] = np.inf  # whichever of them was drawn as one of all persons
      nearer = (row[drawn] <= match[:, None]).sum(axis=1)
      rank = nearer - (match == np.inf) + 1
      found = np.flatnonzero(rank <= max_rank)
      hits[found, rank[found] - 1] += 1
  by_trial = np.cumsum(hits, axis=1) / valid.size
  return SingleShot(by_trial.mean(axis=0), by_trial, int(valid.size))


def _draw_orders(
  trials: int, num_gallery: int, seed: int | np.random.Generator
) -> np.ndarray:
  """Int64 [trials, G]: the place of each image in a random order per trial."""
  if not isinstance(seed, np.random.Generator):
    seed = np.random.Generator(np.random.Philox(seed))
  return np.stack([seed.permutation(num_gallery) for _ in range(trials)])


def _first_of_each_person(order: np.ndarray, g_pid: np.ndarray) -> np.ndarray:
  """Int64 [trials, P]: the image of each person that comes first in an order.

  The first of a random order is a draw with equal chances, from whatever part
  of the images one looks at: so a query may look at its matches only.
  """
  by_person = np.argsort(g_pid, kind="stable")
  ordered = g_pid[by_person]
  starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
  first = np.minimum.reduceat(order[:, by_person], starts, axis=1)
  return np.take_along_axis(np.argsort(order, axis=1), first, axis=1)
