"""Our own random split lists, the same on every machine and for ever."""

from __future__ import annotations

import numpy as np

from metabin_jax.data import seeding

SEED = 0


def permutation(count: int, stream: str, *counters: int) -> list[int]:
  """A random order of some numbers.

  Args:
    count: how many numbers, >= 0.
    stream: what the order is for, for example "splits/prid".
    *counters: tell apart the orders of one stream.

  Returns:
    A permutation of 0 .. count - 1 that depends on the arguments only:
    `seeding.generator(SEED, stream, *counters)`.
  """
  bits = seeding.generator(SEED, stream, *counters).bit_generator
  # Raw bits: NumPy may change what the methods of a Generator make of them, and
  # then a saved digest would no longer fit.
  return np.argsort(bits.random_raw(count), kind="stable").tolist()
