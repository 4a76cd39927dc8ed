"""Deals the images of persons out in groups of K."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Units(NamedTuple):
  """Images grouped by what a group of K is drawn from.

  A unit is a person, or a person within one domain.

  Attributes:
    images: int64 [N] image indices, those of a unit side by side.
    counts: int64 [U] images of each unit, all >= 1.
  """

  images: np.ndarray
  counts: np.ndarray


def group(keys: np.ndarray, members: np.ndarray) -> Units:
  """Groups images by key.

  Args:
    keys: int [N] key of each of `members`.
    members: int64 [N] image indices.

  Returns:
    The units in increasing order of their keys.
  """
  order = np.argsort(keys, kind="stable")
  _, counts = np.unique(keys, return_counts=True)
  return Units(members[order].astype(np.int64), counts.astype(np.int64))


def num_chunks(units: Units, instances: int) -> np.ndarray:
  """Returns int64 [U]: chunks of K that one pass over each unit fills."""
  return -(-units.counts // instances)


def cut_chunks(
  units: Units, instances: int, random: np.random.Generator
) -> np.ndarray:
  """Shuffles each unit and cuts it into chunks of K.

  A unit with n < K images fills its one chunk by K draws with replacement.
  Otherwise extra images, drawn without replacement, pad it to a multiple of K,
  and all are shuffled; a padded chunk may thus hold an image twice.

  Args:
    units: U units.
    instances: K.
    random: source of the shuffles.

  Returns:
    int64 [C, K] image indices; chunks of a unit side by side, in unit order.

  Source: reference fastreid/data/samplers/triplet_sampler.py,
    NaiveIdentitySampler and DomainSuffleSampler.
  """
  unit_of_image = np.repeat(np.arange(len(units.counts)), units.counts)
  first, second = (
    units.images[np.lexsort((random.random(len(unit_of_image)), unit_of_image))]
    for _ in range(2)
  )
  slots = num_chunks(units, instances) * instances
  unit = np.repeat(np.arange(len(slots)), slots)
  count = units.counts[unit]
  image_start = (np.cumsum(units.counts) - units.counts)[unit]
  position = np.arange(len(unit)) - (np.cumsum(slots) - slots)[unit]
  drawn = np.floor(random.random(len(unit)) * count).astype(np.int64)
  padding = position >= count
  source = np.where(padding, position - count, position)
  source = np.where(count < instances, drawn, source)
  rows = np.where(
    padding & (count >= instances),
    second[image_start + source],
    first[image_start + source],
  )
  shuffled = rows[np.lexsort((random.random(len(rows)), unit))]
  return shuffled.reshape(-1, instances)


class Deck:
  """Deals chunks of distinct units until too few units are left, then refills.

  Each deal picks units uniformly among those with chunks left, so small units
  run out first, as in the reference.
  """

  def __init__(self, units: Units, instances: int, random: np.random.Generator):
    """Fills the deck.

    Args:
      units: what to deal.
      instances: K images a chunk.
      random: source of the shuffles and picks; shared decks take turns.
    """
    self._units = units
    self._instances = instances
    self._random = random
    self._chunks_of_unit = num_chunks(units, instances)
    self._refill()

  def _refill(self) -> None:
    self._chunks = cut_chunks(self._units, self._instances, self._random)
    ends = np.cumsum(self._chunks_of_unit)
    self._ends = ends.tolist()
    self._next = (ends - self._chunks_of_unit).tolist()
    self._alive = list(range(len(self._ends)))

  def deal(self, num_units: int) -> np.ndarray:
    """Returns int64 [num_units, K]: one chunk each of distinct units."""
    if len(self._alive) < num_units:
      self._refill()
    alive = self._alive
    # Partial Fisher-Yates; plain uniforms, because NumPy may change what
    # Generator.choice makes of the same bits.
    for i, uniform in enumerate(self._random.random(num_units).tolist()):
      j = i + int(uniform * (len(alive) - i))
      alive[i], alive[j] = alive[j], alive[i]
    picked = []
    for i in reversed(range(num_units)):
      unit = alive[i]
      picked.append(self._next[unit])
      self._next[unit] += 1
      if self._next[unit] == self._ends[unit]:
        alive[i] = alive[-1]
        alive.pop()
    return self._chunks[picked]
