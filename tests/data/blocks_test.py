from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data import blocks


def test_rows_come_from_their_block_and_blocks_are_kept():
  made = []

  def make_block(number):
    made.append(number)
    return np.arange(3) + 10 * number

  plan = blocks.in_blocks(make_block, 3)
  assert [int(plan(i)) for i in range(7)] == [0, 1, 2, 10, 11, 12, 20]
  assert made == [0, 1, 2]
  assert int(plan(0)) == 0
  assert made == [0, 1, 2]  # three blocks are kept
  assert int(plan(9)) == 30
  assert [int(plan(i)) for i in (0, 6)] == [0, 20]
  assert made == [0, 1, 2, 3]  # block 1 went, the longest unused
  assert int(plan(4)) == 11
  assert made == [0, 1, 2, 3, 1]


def test_negative_draw():
  plan = blocks.in_blocks(lambda number: np.zeros(3), 3)
  with pytest.raises(ValueError, match="draw is -1, want a number >= 0"):
    plan(-1)
