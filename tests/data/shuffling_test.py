from __future__ import annotations

import collections

import numpy as np
import pytest

from metabin_jax.data import batches, sampling, shuffling
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError


def records(count=23):
  return [
    Record(f"/x/{i}", f"d{i % 3}/{i // 5}", 0, f"d{i % 3}")
    for i in range(count)
  ]


@pytest.fixture(name="pool", scope="module")
def pool_fixture():
  return sampling.create_pool(records())


def test_an_epoch_uses_images_once_and_leaves_the_rest_out(pool):
  assert shuffling.epoch_length(pool, 5) == 4
  plan = shuffling.make_plan(pool, batch_size=5, seed=0)
  left_out = collections.Counter()
  for epoch in range(40):
    rows = np.concatenate([plan(4 * epoch + i) for i in range(4)])
    assert rows.dtype == np.int64
    assert rows.shape == (20,)
    assert len(set(rows.tolist())) == 20
    assert set(rows.tolist()) <= set(range(23))
    left_out.update(set(range(23)) - set(rows.tolist()))
  # Other images every time: 120 / 23 times each, about 5.
  assert len(left_out) == 23
  assert max(left_out.values()) < 16


def test_batches_that_fit_leave_nothing_out(pool):
  assert shuffling.epoch_length(pool, 23) == 1
  plan = shuffling.make_plan(pool, batch_size=23, seed=0)
  assert sorted(plan(3).tolist()) == list(range(23))


def test_a_function_of_seed_and_draw(pool):
  def make(seed):
    return shuffling.make_plan(pool, batch_size=5, seed=seed)

  one, other = make(5), make(5)
  want = [one(i) for i in range(30)]
  for i in np.random.default_rng(0).permutation(30):
    np.testing.assert_array_equal(other(int(i)), want[i])
  assert any((make(6)(i) != want[i]).any() for i in range(3))
  assert (want[0] != want[4]).any()  # epochs differ
  with pytest.raises(ValueError, match="read-only"):
    want[0][0] = 1


def test_positions_are_uniform(pool):
  """Every image is equally likely at every place of a batch."""
  plan = shuffling.make_plan(pool, batch_size=5, seed=1)
  rows = np.stack([plan(i) for i in range(4 * 300)])
  counts = np.stack([np.bincount(rows[:, i], minlength=23) for i in range(5)])
  # 1200 / 23 = 52 expected, sigma 7.
  assert counts.min() > 20
  assert counts.max() < 90


def test_too_few_images(pool):
  message = (
    "of 24 images is more than the sources have; use data.batch_size=23 or"
  )
  for make in (
    lambda: shuffling.epoch_length(pool, 24),
    lambda: shuffling.make_plan(pool, batch_size=24, seed=0),
  ):
    with pytest.raises(UserError, match=message):
      make()


def test_as_base_batches_of_a_run():
  plan = batches.make_batch_plan(
    records(),
    batch_size=7,  # no multiple of any number of instances
    instances=4,
    seed=3,
    shuffled=True,
    first_base_updates=2,
  )
  want = shuffling.make_plan(plan.pool, batch_size=7, seed=3)
  numbers = [draw.number for step in range(3) for draw in plan.draws(step)]
  assert numbers == [0, 1, 2, 3]
  for step, first in ((0, 0), (1, 2), (2, 3)):
    np.testing.assert_array_equal(plan.draws(step)[0].rows, want(first))
  assert plan.meta is None
