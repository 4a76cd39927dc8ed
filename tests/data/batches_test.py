from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data import batches
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError


def make(**changes):
  records = [
    Record(f"/x/{d}/{p}/{i}", f"d{d}/{p}", 0, f"d{d}")
    for d in range(3)
    for p in range(4)
    for i in range(4)
  ]
  options = {
    "batch_size": 12,
    "instances": 2,
    "seed": 0,
    "num_mtrain": 2,
    "height": 8,
    "width": 4,
  }
  return batches.make_batch_plan(records, **{**options, **changes})


def test_first_iteration_has_more_base_batches():
  plan = make(first_base_updates=10)
  kinds = [[(d.stream, d.number) for d in plan.draws(s)] for s in range(3)]
  assert kinds[0] == [("base", i) for i in range(10)] + [("meta", 0)]
  assert kinds[1] == [("base", 10), ("meta", 1)]
  assert kinds[2] == [("base", 11), ("meta", 2)]


def test_without_meta_step():
  plan = make(num_mtrain=None, first_base_updates=1)
  assert [d.stream for d in plan.draws(5)] == ["base"]
  (draw,) = plan.draws(5)
  got = plan.assemble(5, [draw], [np.zeros((12, 8, 4, 3), np.uint8)])
  assert (got.mtrain, got.mtest) == (None, None)


def test_assemble_splits_the_meta_batch_and_labels_rows():
  plan = make()
  draws = plan.draws(3)
  pixels = [
    np.broadcast_to(
      np.arange(12, dtype=np.uint8)[:, None, None, None], (12, 8, 4, 3)
    )
    for _ in draws
  ]
  got = plan.assemble(3, draws, pixels)
  assert got.step == 3
  assert [len(batch.pid) for batch in got.base] == [12]
  assert got.mtrain.image[:, 0, 0, 0].tolist() == list(range(8))
  assert got.mtest.image[:, 0, 0, 0].tolist() == list(range(8, 12))
  for batch, rows in (
    (got.base[0], draws[0].rows),
    (got.mtrain, draws[1].rows[:8]),
    (got.mtest, draws[1].rows[8:]),
  ):
    assert batch.pid.dtype == batch.domain.dtype == np.int32
    np.testing.assert_array_equal(batch.pid, plan.pool.pid[rows])
    np.testing.assert_array_equal(batch.domain, plan.pool.domain[rows])
  assert not set(got.mtrain.domain.tolist()) & set(got.mtest.domain.tolist())


def test_augmentation_differs_between_streams_and_draws():
  plan = make()
  first, second = (plan.draws(step) for step in (1, 2))
  offsets = [plan.params(draw).offset for draw in first + second]
  for i, one in enumerate(offsets):
    for other in offsets[:i]:
      assert (one != other).any()


def test_balanced():
  plan = make(balanced=True)
  for step in range(1, 5):
    domains = plan.pool.domain[plan.draws(step)[0].rows]
    assert np.bincount(domains).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"batch_size": 13}, r"batch size 13 does not hold whole groups of 2"),
    ({"batch_size": 14}, r"batch size 14 does not divide into 3 domains"),
    ({"first_base_updates": 0}, r"first_base_updates is 0; use at least 1"),
    ({"height": 0}, r"height is 0; use at least 1"),
  ],
)
def test_mistakes(change, message):
  with pytest.raises(UserError, match=message):
    make(**change)


def test_negative_step():
  with pytest.raises(ValueError, match="step is -1"):
    make().draws(-1)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parts_make_up_the_batch(count):
  whole = make()
  parts = [make(part=batches.Part(i, count)) for i in range(count)]
  for step in (0, 3):
    draws = whole.draws(step)
    images = [np.arange(12)[:, None, None, None] + d.number for d in draws]
    want = whole.assemble(step, draws, images)
    seen = []
    for part in parts:
      positions = [part.positions(draw) for draw in part.draws(step)]
      local = [
        pixels[rows] for pixels, rows in zip(images, positions, strict=True)
      ]
      seen.append(part.assemble(step, part.draws(step), local))
    for k, batch in enumerate(want.base):
      same_rows(batch, [one.base[k] for one in seen])
    same_rows(want.mtrain, [one.mtrain for one in seen])
    same_rows(want.mtest, [one.mtest for one in seen])


def same_rows(batch, parts):
  """The parts, one after the other, are the batch, and of equal size."""
  assert len({len(part.pid) for part in parts}) == 1
  for k, values in enumerate(batch):
    got = np.concatenate([part[k] for part in parts])
    np.testing.assert_array_equal(got, values)


def test_parts_are_equal_or_refused():
  plan = make(part=batches.Part(0, 8))
  with pytest.raises(ValueError, match="12 rows cannot be split by 8"):
    plan.positions(plan.draws(1)[0])
  for index, count in ((2, 2), (-1, 2), (0, 0)):
    with pytest.raises(ValueError, match="is no part"):
      make(part=batches.Part(index, count))


def site(count=10, cameras=3):
  return [
    Record(f"/site/{i}", f"s/{i % 4}", i % cameras, "site")
    for i in range(count)
  ]


def test_unlabelled_batches_beside_the_base_batches():
  plan = make(
    num_mtrain=None,
    first_base_updates=1,
    unlabelled=site(),
    unlabelled_size=4,
  )
  assert plan.paths == plan.pool.paths + tuple(r.path for r in site())
  epochs = []
  for step in range(4):
    base, further = plan.draws(step)
    assert [base.stream, further.stream] == ["base", "unlabelled"]
    epochs.append(further.rows - 48)
  # Each image at most once in an epoch of two batches; then anew.
  for first, second in (epochs[:2], epochs[2:]):
    both = np.concatenate([first, second])
    assert len(set(both.tolist())) == 8
    assert set(both.tolist()) <= set(range(10))
  assert (
    np.concatenate(epochs[:2]).tolist() != np.concatenate(epochs[2:]).tolist()
  )
  pixels = np.zeros((12, 8, 4, 3), np.uint8)
  got = plan.assemble(3, plan.draws(3), [pixels, pixels[:4]]).unlabelled
  assert got.row.tolist() == epochs[3].tolist()
  assert got.view.tolist() == [row % 3 for row in epochs[3]]
  assert got.pid.tolist() == [row % 4 for row in epochs[3]]


def test_base_batches_do_not_hang_on_the_unlabelled():
  alone = make(num_mtrain=None)
  both = make(num_mtrain=None, unlabelled=site(), unlabelled_size=4)
  for step in range(3):
    draws = [d for d in both.draws(step) if d.stream == "base"]
    for one, other in zip(alone.draws(step), draws, strict=True):
      np.testing.assert_array_equal(one.rows, other.rows)


def test_views_are_cameras_of_a_domain():
  records = [
    Record(f"/site/{i}", "p", camid, domain)
    for i, (camid, domain) in enumerate(
      [(7, "b"), (7, "a"), (2, "b"), (7, "b"), (-1, "a")]
    )
  ]
  found = batches.make_unlabelled(records, batch_size=2, seed=0)
  assert found.num_views == 4
  # Domains by first appearance, then by camera.
  assert found.view.tolist() == [1, 3, 0, 1, 2]


def test_too_few_unlabelled():
  with pytest.raises(UserError, match=r"use mar.batch_size=10 or less"):
    make(num_mtrain=None, unlabelled=site(), unlabelled_size=11)
