"""The cosine from which on two images count as the same person.

A threshold is chosen for a wanted false match rate: the share of pairs of
different persons (impostor pairs) whose cosine reaches it. Pairs of one set are
not independent, since each person is in many of them; intervals come from
drawing persons, not pairs, with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from metabin_jax.errors import UserError

# Zero events in n independent trials leave rates up to 3 / n possible (95 %).
RULE_OF_THREE = 3
_BLOCK = 1024  # images compared with all others at a time


class Interval(NamedTuple):
  """A rate and where it may lie, all in [0, 1]."""

  rate: float
  low: float
  high: float


class Calibration(NamedTuple):
  """A threshold and what to expect of it.

  Attributes:
    wanted: false match rate that was asked for.
    threshold: the smallest cosine that counts as the same person.
    fmr: false match rate on this set, at most `wanted`.
    fnmr: false non-match rate: share of pairs of one person (genuine pairs)
      below the threshold.
    genuine: number of such pairs.
    impostor: number of pairs of two persons.
    persons: number of persons.
  """

  wanted: float
  threshold: float
  fmr: Interval
  fnmr: Interval
  genuine: int
  impostor: int
  persons: int


class Pairs(NamedTuple):
  """Numbers that the labels alone decide.

  Attributes:
    genuine: pairs of images of one person.
    impostor: pairs of images of two persons.
    persons: number of persons.
  """

  genuine: int
  impostor: int
  persons: int


def count_pairs(
  pids: np.ndarray, camids: np.ndarray, *, cross_camera: bool = True
) -> Pairs:
  """Counts what a calibration would compare.

  Args:
    pids: [N] persons.
    camids: [N] cameras, -1 where unknown.
    cross_camera: see `calibrate`.

  Returns:
    The numbers.

  Raises:
    UserError: if there are fewer than two persons or no genuine pair.
  """
  names, person = np.unique(pids, return_inverse=True)
  if len(names) < 2:
    raise UserError(
      "the images show one person; a threshold needs pairs of different ones."
    )
  genuine = alike = _pairs_within(person)
  if cross_camera:
    camids = np.asarray(camids)
    seen = camids >= 0
    _, place = np.unique(
      np.stack([person[seen], camids[seen]]), axis=1, return_inverse=True
    )
    genuine -= _pairs_within(place.ravel())
  if not genuine:
    raise UserError(
      "no two images show one person"
      + (" from two cameras; pass --cross-camera=off" if cross_camera else "")
      + ", so nothing can be said about missed matches."
    )
  impostor = len(person) * (len(person) - 1) // 2 - alike
  return Pairs(genuine, impostor, len(names))


def supports(wanted: float, impostor: int) -> bool:
  """Whether so many pairs of two persons can show a false match rate."""
  return wanted * impostor >= RULE_OF_THREE


def unsupported(wanted: float, impostor: int) -> UserError:
  """The error for a false match rate that so many pairs cannot show."""
  return UserError(
    f"{impostor:,} pairs of different persons say nothing about a false "
    f"match rate of {wanted:g}: the smallest they support is "
    f"{RULE_OF_THREE / impostor:.1e} (3 / pairs); ask for a larger one, or "
    "give more persons."
  )


def calibrate(
  vectors: np.ndarray,
  pids: np.ndarray,
  camids: np.ndarray,
  wanted: float,
  *,
  cross_camera: bool = True,
  confidence: float = 0.95,
  resamples: int = 1000,
  seed: int = 0,
) -> Calibration:
  """Chooses a threshold for a false match rate.

  Args:
    vectors: float32 [N, D] of length 1.
    pids: [N] persons.
    camids: [N] cameras, -1 where unknown.
    wanted: false match rate, in (0, 1).
    cross_camera: leave out genuine pairs from one known camera, which show the
      same moment more often than not.
    confidence: of the intervals, in (0, 1).
    resamples: draws of persons behind the intervals.
    seed: of the draws.

  Returns:
    The threshold; at it floor(wanted x impostor pairs) impostor pairs, or fewer
    if cosines are equal, count as the same person.

  Raises:
    UserError: if there are fewer than two persons or no genuine pair, or too
      few impostor pairs to say anything about so small a rate.
    ValueError: for a rate or confidence outside of (0, 1).
  """
  for name, value in (("wanted", wanted), ("confidence", confidence)):
    if not 0 < value < 1:
      raise ValueError(f"{name} is {value}, want a number between 0 and 1.")
  names, person = np.unique(pids, return_inverse=True)
  counts = np.bincount(person).astype(np.float64)
  impostor = count_pairs(pids, camids, cross_camera=cross_camera).impostor
  if not supports(wanted, impostor):
    raise unsupported(wanted, impostor)
  allowed = math.floor(wanted * impostor)
  threshold = _threshold(vectors, person, allowed)
  matches, genuine, missed = _count(
    vectors, person, camids, threshold, len(names), cross_camera
  )
  random = np.random.default_rng(seed)
  drawn = random.multinomial(
    len(names), np.full(len(names), 1 / len(names)), size=resamples
  ).astype(np.float64)
  rows, columns, numbers = matches
  hits = (drawn[:, rows] * drawn[:, columns]) @ numbers
  pairs = ((drawn @ counts) ** 2 - drawn**2 @ counts**2) / 2
  # A person's pairs hang together: persons are what there is independent.
  return Calibration(
    wanted,
    float(threshold),
    _interval(numbers.sum(), impostor, hits, pairs, len(names), confidence),
    _interval(
      missed.sum(),
      genuine.sum(),
      drawn @ missed,
      drawn @ genuine,
      int((genuine > 0).sum()),
      confidence,
    ),
    int(genuine.sum()),
    impostor,
    len(names),
  )


def _pairs_within(group: np.ndarray) -> int:
  """Pairs of equal numbers >= 0."""
  sizes = np.bincount(group)
  return int((sizes * (sizes - 1) // 2).sum())


def _threshold(
  vectors: np.ndarray, person: np.ndarray, allowed: int
) -> np.float32:
  """The smallest float32 that at most `allowed` impostor pairs reach."""
  top = np.zeros(0, np.float32)
  for start, scores in _blocks(vectors):
    other = person[start : start + len(scores), None] != person[None, start:]
    found = scores[other & _later(scores.shape)]
    top = np.concatenate([top, found])
    if len(top) > allowed + 1:
      top = np.partition(top, -allowed - 1)[-allowed - 1 :]
  return np.nextafter(top.min(), np.float32(np.inf))


def _count(vectors, person, camids, threshold, persons, cross_camera):
  """False matches by pair of persons; genuine pairs and misses by person."""
  false: dict[tuple[int, int], int] = {}
  genuine, missed = np.zeros(persons), np.zeros(persons)
  for start, scores in _blocks(vectors):
    own = person[start : start + len(scores)]
    same = own[:, None] == person[None, start:]
    later = _later(scores.shape)
    rows, columns = np.nonzero(~same & later & (scores >= threshold))
    for pair in zip(own[rows], person[start + columns], strict=True):
      key = (int(min(pair)), int(max(pair)))
      false[key] = false.get(key, 0) + 1
    same &= later
    if cross_camera:
      cameras = camids[start : start + len(scores), None]
      same &= (cameras != camids[None, start:]) | (cameras < 0)
    rows, columns = np.nonzero(same)
    genuine += np.bincount(own[rows], minlength=persons)
    low = scores[rows, columns] < threshold
    missed += np.bincount(own[rows[low]], minlength=persons)
  pairs = np.array([*false], np.int64).reshape(-1, 2)
  numbers = np.array([*false.values()], np.float64)
  return (pairs[:, 0], pairs[:, 1], numbers), genuine, missed


def _blocks(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
  """(first row, cosines of a block of rows with all from its first on)."""
  for start in range(0, len(vectors), _BLOCK):
    yield start, vectors[start : start + _BLOCK] @ vectors[start:].T


def _later(shape: tuple[int, ...]) -> np.ndarray:
  """Each pair once: columns that stand for a later image than the row."""
  return np.arange(shape[1])[None, :] > np.arange(shape[0])[:, None]


def _interval(events, trials, drawn_events, drawn_trials, units, confidence):
  """The rate, and the middle of what other draws of persons would give."""
  usable = drawn_trials > 0
  rates = drawn_events[usable] / drawn_trials[usable]
  tail = (1 - confidence) / 2
  low, high = np.quantile(rates, [tail, 1 - tail])
  # Draws of nothing, or of nothing else, say nothing: the exact binomial bound.
  if not events:
    high = 1 - tail ** (1 / units)
  elif events == trials:
    low = tail ** (1 / units)
  rate = float(events / trials)
  return Interval(rate, min(float(low), rate), max(float(high), rate))
