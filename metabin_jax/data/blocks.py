"""Plans that are made a block at a time, when somebody asks for a part."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

import numpy as np

# A run reads blocks in order; neighbours are wanted while it prefetches.
_CACHED_BLOCKS = 3


def in_blocks(
  make_block: Callable[[int], np.ndarray], draws: int
) -> Callable[[int], np.ndarray]:
  """Deals rows out of blocks, of which the latest are kept.

  Args:
    make_block: number of the block, from 0 -> array [draws, ...]; always the
      same for one number.
    draws: rows of a block.

  Returns:
    plan(draw) -> row `draw % draws` of block `draw // draws`; safe to call
    from several threads. Raises ValueError for a negative draw.
  """
  cache: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
  lock = threading.Lock()

  def plan(draw: int) -> np.ndarray:
    if draw < 0:
      raise ValueError(f"draw is {draw}, want a number >= 0.")
    block, row = divmod(draw, draws)
    with lock:
      if block not in cache:
        cache[block] = make_block(block)
      cache.move_to_end(block)
      if len(cache) > _CACHED_BLOCKS:
        cache.popitem(last=False)
      return cache[block][row]

  return plan
