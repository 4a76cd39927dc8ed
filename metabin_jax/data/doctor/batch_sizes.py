"""Which batch sizes the samplers can fill from some training images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metabin_jax.data.pool import Pool


class BatchSizes(NamedTuple):
  """The multiples of `step` from `least` to `most`; none if most < least."""

  step: int
  least: int
  most: int

  def __contains__(self, size: object) -> bool:
    """Whether a batch size is among them."""
    return (
      isinstance(size, int)
      and self.least <= size <= self.most
      and size % self.step == 0
    )

  def nearest(self, size: int) -> int | None:
    """The one closest to `size`, the smaller of two; None if there is none."""
    if self.most < self.least:
      return None
    below = size // self.step * self.step
    candidates = [
      min(max(multiple, self.least), self.most)
      for multiple in (below, below + self.step)
    ]
    return min(candidates, key=lambda multiple: abs(multiple - size))


def base_batch_sizes(pool: Pool, instances: int) -> BatchSizes:
  """Batches of any persons: what a baseline needs.

  Args:
    pool: the training images.
    instances: K, images a person.

  Source: the checks of `sampling.make_base_plan`.
  """
  return BatchSizes(instances, 2 * instances, len(pool.pids) * instances)


def meta_batch_sizes(pool: Pool, instances: int) -> BatchSizes:
  """Batches that also have equally many persons of each domain.

  Args:
    pool: the training images, of two domains or more.
    instances: K, images a person.

  Returns:
    Sizes that fit both plans of a run of MetaBIN.

  Source: the checks of `sampling.make_base_plan` and `make_meta_plan`.
  """
  step = len(pool.domains) * instances
  persons = min(
    len(np.unique(pool.pid[pool.domain == domain]))
    for domain in range(len(pool.domains))
  )
  # Persons who occur in several domains count once in a base batch.
  all_persons = len(pool.pids) * instances // step * step
  return BatchSizes(step, 2 * step, min(persons * step, all_persons))
