"""Verification: which share of the genuine pairs a threshold accepts.

A pair of a query and a gallery image is GENUINE if the image is a match of the
query, an IMPOSTOR if it shows another person (distractors included). Junk, an
image of the query's person from its own camera, is neither, and a query that
cannot be scored gives no pairs. A pair is accepted at threshold t if its
distance is at most t:

  TPR(t) = share of the genuine pairs accepted
  FPR(t) = share of the impostor pairs accepted

over all pairs of all queries together. TPR@FPR=x is TPR(t) for the largest t
with FPR(t) <= x. Impostors thus come before genuine pairs at equal distance,
as in the ranking: ties never flatter.
"""

from __future__ import annotations

import dataclasses
import fractions
import math
from collections.abc import Sequence

import numpy as np

_CURVE_POINTS = 180
_LEAST_ROOM = 2**16


@dataclasses.dataclass(frozen=True)
class Roc:
  """The head of the ROC curve, exact at every point that it has.

  Attributes:
    num_genuine: genuine pairs.
    num_impostor: impostor pairs.
    rates: (FPR, TPR@FPR) for each rate that was asked for; the TPR is None if
      the rate cannot be resolved: if it allows less than one impostor pair.
    fpr: float64 [N], rising, false positive rates from 0 to the highest rate
      that was asked for: at most 180 points, evenly spaced in log(FPR), and
      the rates themselves.
    tpr: float64 [N], the true positive rate at each.
    threshold: float64 [N], the largest distance that is accepted there; a
      number just below the distance of the next impostor.
  """

  num_genuine: int
  num_impostor: int
  rates: tuple[tuple[float, float | None], ...]
  fpr: np.ndarray
  tpr: np.ndarray
  threshold: np.ndarray


def check_rates(fprs: Sequence[float]) -> tuple[float, ...]:
  """Returns the rates as a tuple; ValueError if one is not within (0, 1)."""
  for rate in fprs:
    if not 0 < rate < 1:
      raise ValueError(
        f"a false positive rate is {rate}; rates lie between 0 and 1, both "
        "excluded, such as 0.001."
      )
  return tuple(float(rate) for rate in fprs)


def num_allowed(rate: float, num_impostor: int) -> int:
  """How many impostor pairs a rate allows: floor(rate x pairs).

  Args:
    rate: in (0, 1), read as the decimal number that it is written as, so that
      0.29 of 100 pairs are 29 although the nearest float64 lies below 0.29.
    num_impostor: number of impostor pairs.
  """
  return math.floor(fractions.Fraction(repr(float(rate))) * num_impostor)


class RocCollector:
  """Collects distances query by query, and forgets those that cannot matter.

  Of the impostors only the nearest floor(max(fprs) x pairs) + 1 decide on the
  rates that are asked for. At most twice that number is held, 8 bytes each.
  """

  def __init__(self, fprs: Sequence[float], num_impostor: int):
    """Makes room.

    Args:
      fprs: false positive rates, each in (0, 1); at least one.
      num_impostor: impostor pairs that `add` will get in all.
    """
    self._fprs = check_rates(fprs)
    self._num_impostor = num_impostor
    self._most = num_allowed(max(self._fprs), num_impostor)
    self._needed = self._most + 1
    room = self._needed + max(self._needed, _LEAST_ROOM)
    self._nearest = np.empty(min(room, num_impostor))
    self._held = 0
    self._cutoff: float | None = None
    self._genuine: list[np.ndarray] = []

  def add(self, genuine: np.ndarray, impostors: np.ndarray) -> None:
    """Takes the distances of some pairs.

    Args:
      genuine: distances of genuine pairs.
      impostors: distances of impostor pairs, sorted; those beyond the nearest
        floor(max(fprs) x pairs) + 1 may be left out.
    """
    self._genuine.append(np.array(genuine, np.float64))
    new = self._candidates(impostors)
    if self._held + new.size > self._nearest.size:
      self._forget()
    self._nearest[self._held : self._held + new.size] = new
    self._held += new.size

  def finish(self) -> Roc:
    """The curve; the collector is used up."""
    genuine = np.sort(np.concatenate([*self._genuine, np.empty(0)]))
    nearest = self._nearest[: self._held]
    nearest.sort()

    def accepted(allowed: int) -> tuple[float, float, float]:
      # The largest threshold that `allowed` impostors do not exceed lies just
      # below the next one; all at that one's distance are left out with it.
      edge = nearest[allowed]
      impostors = np.searchsorted(nearest, edge, side="left")
      matches = np.searchsorted(genuine, edge, side="left")
      return (
        float(impostors / self._num_impostor),
        float(matches / genuine.size),
        float(np.nextafter(edge, -math.inf)),
      )

    allowed = [num_allowed(rate, self._num_impostor) for rate in self._fprs]
    rates = tuple(
      (rate, accepted(number)[1] if number and genuine.size else None)
      for rate, number in zip(self._fprs, allowed, strict=True)
    )
    points = {0, *allowed}
    if self._most:
      points |= {
        *np.geomspace(1, self._most, _CURVE_POINTS).round().astype(int)
      }
    scored = bool(self._num_impostor and genuine.size)
    curve = sorted({accepted(number) for number in points if scored})
    fpr, tpr, threshold = np.array(curve).reshape(-1, 3).T
    return Roc(genuine.size, self._num_impostor, rates, fpr, tpr, threshold)

  def _candidates(self, impostors: np.ndarray) -> np.ndarray:
    nearest = impostors[: self._needed]
    if self._cutoff is None:
      return nearest
    # Those at the cutoff itself change nothing: enough of them are held.
    return nearest[: np.searchsorted(nearest, self._cutoff, side="left")]

  def _forget(self) -> None:
    """Drops all but the nearest that are needed."""
    held = self._nearest[: self._held]
    held.partition(self._needed - 1)
    self._cutoff = float(held[self._needed - 1])
    self._held = self._needed
