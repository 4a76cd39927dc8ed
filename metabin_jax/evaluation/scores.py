"""What a ranking comes down to: a few numbers for each query."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from metabin_jax.evaluation import average_precision, roc
from metabin_jax.evaluation.average_precision import INTERPOLATION_FREE
from metabin_jax.evaluation.matches import Matches, Reason


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
    ap_convention: how `ap` was computed, see `average_precision`.
    roc: the ROC curve over the pairs of all valid queries; None if no false
      positive rate was asked for.
  """

  first_rank: np.ndarray
  ap: np.ndarray
  inp: np.ndarray
  num_matches: np.ndarray
  reason: np.ndarray
  pid: np.ndarray
  camid: np.ndarray
  ap_convention: str = INTERPOLATION_FREE
  roc: roc.Roc | None = None

  @property
  def valid(self) -> np.ndarray:
    """Bool [Q]: the query has a match left to find."""
    return self.reason == Reason.VALID


class Scores:
  """Gathers the results of the valid queries, in any order."""

  def __init__(self, matches: Matches, *, ap: str, fprs: Sequence[float]):
    """Checks the choices; `ap` and `fprs` are those of `rank_queries`."""
    average_precision.check_convention(ap)
    self._matches = matches
    self._convention = ap
    self._first_rank = np.zeros(len(matches.q_pid), np.int64)
    self._ap = np.zeros(len(matches.q_pid))
    self._inp = np.zeros(len(matches.q_pid))
    self._roc = None
    if roc.check_rates(fprs):
      valid = matches.reason == Reason.VALID
      num_impostor = matches.num_gallery - matches.num_same[valid]
      self._roc = roc.RocCollector(fprs, int(num_impostor.sum()))

  def add(self, query: int, ranks: np.ndarray) -> None:
    """Takes the ranks, from 1 and rising, of the matches of a query."""
    self._first_rank[query] = ranks[0]
    self._ap[query] = average_precision.average_precision(
      ranks, self._convention
    )
    self._inp[query] = ranks.size / ranks[-1]

  def add_pairs(self, genuine: np.ndarray, impostors: np.ndarray) -> None:
    """Takes distances for the ROC, if there is one; impostors are sorted."""
    if self._roc is not None:
      self._roc.add(genuine, impostors)

  def ranking(self) -> Ranking:
    """What was gathered."""
    return Ranking(
      first_rank=self._first_rank,
      ap=self._ap,
      inp=self._inp,
      num_matches=self._matches.num_matches,
      reason=self._matches.reason,
      pid=self._matches.q_pid,
      camid=self._matches.q_camid,
      ap_convention=self._convention,
      roc=self._roc.finish() if self._roc is not None else None,
    )
