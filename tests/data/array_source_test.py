from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from metabin_jax.data import (
  array_source,
  augment,
  batches,
  images,
  pixel_preparation,
)
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError


@pytest.fixture
def make_plan(make_records):
  def make(records=None, **changes):
    options = {
      "batch_size": 12,
      "instances": 2,
      "seed": 0,
      "num_mtrain": 2,
      "height": 16,
      "width": 8,
      "first_base_updates": 3,
      "augmentation": augment.AugmentConfig(pad_px=2, jitter=True),
    }
    return batches.make_batch_plan(
      records or make_records(), **{**options, **changes}
    )

  return make


def all_batches(iteration):
  return [b for b in (*iteration.base, iteration.mtrain, iteration.mtest) if b]


def assert_same(one, other):
  assert one.step == other.step
  for a, b in zip(all_batches(one), all_batches(other), strict=True):
    for x, y in zip(a, b, strict=True):
      np.testing.assert_array_equal(x, y)


def image_threads():
  return [t for t in threading.enumerate() if "metabin-images" in t.name]


def test_shapes_and_counts(make_plan):
  source = array_source.ArraySource(make_plan(), workers=2)
  first, second = source.iterate(0, 2)
  assert (first.step, second.step) == (0, 1)
  assert (len(first.base), len(second.base)) == (3, 1)
  for batch in (*first.base, *second.base):
    assert batch.image.shape == (12, 16, 8, 3)
    assert batch.image.dtype == np.uint8
  assert first.mtrain.image.shape[0] == 8
  assert first.mtest.image.shape[0] == 4


def test_pixels_are_the_ones_of_the_rows(make_plan):
  plan = make_plan(augmentation=augment.NO_AUGMENTATION)
  (got,) = array_source.ArraySource(plan, workers=2).iterate(4, 5)
  (draw, _) = plan.draws(4)
  for row, index in enumerate(draw.rows):
    want = images.load_image(plan.pool.paths[index], 16, 8)
    np.testing.assert_array_equal(got.base[0].image[row], want)


def test_resume_is_bit_identical(make_plan):
  plan = make_plan()
  whole = list(array_source.ArraySource(plan, workers=3).iterate(0, 10))
  tail = list(array_source.ArraySource(plan, workers=1).iterate(5, 10))
  assert len(tail) == 5
  for one, other in zip(whole[5:], tail, strict=True):
    assert_same(one, other)


def test_workers_cache_and_prefetch_change_nothing(make_plan, make_records):
  records = make_records()
  plans = [make_plan(records) for _ in range(3)]
  sources = [
    array_source.ArraySource(plans[0], workers=1, cache_images=False),
    array_source.ArraySource(
      plans[1], workers=4, cache_images=True, prefetch=0
    ),
    array_source.ArraySource(plans[2], workers=2, prefetch=5),
  ]
  for trio in zip(*(s.iterate(0, 6) for s in sources), strict=True):
    assert_same(trio[0], trio[1])
    assert_same(trio[0], trio[2])


@pytest.fixture
def prepare(tmp_path):
  def prepare(records, height=16, width=8):
    return pixel_preparation.prepare(
      [DataSet("d", tuple(records))],
      height=height,
      width=width,
      root=tmp_path / "cache",
      say=lambda line: None,
    )

  return prepare


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("cache_images", [None, True])
def test_the_cache_on_disk_changes_nothing(
  make_plan, make_records, prepare, suffix, cache_images
):
  records = make_records(suffix=suffix, height=40, width=25)
  plan = make_plan(records)
  plain = array_source.ArraySource(plan, workers=2).iterate(0, 5)
  want = list(plain)
  pixels = prepare(records)
  for record in records:
    os.unlink(record.path)
  source = array_source.ArraySource(
    plan, workers=2, pixels=pixels, cache_images=cache_images
  )
  for one, other in zip(source.iterate(0, 5), want, strict=True):
    assert_same(one, other)


@pytest.mark.parametrize(
  ("keep", "loads"), [(None, 96), (False, 96), (True, 0)]
)
def test_what_lies_on_disk_is_kept_in_memory_only_if_asked_for(
  make_plan, make_records, prepare, monkeypatch, keep, loads
):
  records = make_records()
  pixels = prepare(records)
  count = []
  real = pixels.load
  monkeypatch.setattr(
    pixels, "load", lambda path: count.append(path) or real(path)
  )
  source = array_source.ArraySource(
    make_plan(records, first_base_updates=1),
    workers=1,
    pixels=pixels,
    cache_images=keep,
  )
  list(source.iterate(0, 4))
  if loads:
    assert len(count) == loads
  else:
    assert len(count) == len(set(count)) <= 27


def test_pixels_of_another_size_are_refused(make_plan, make_records, prepare):
  records = make_records()
  with pytest.raises(ValueError, match="holds 16x9 pixels, the plan wants"):
    array_source.ArraySource(
      make_plan(records), pixels=prepare(records, width=9)
    )


def test_batches_belong_to_the_caller(make_plan):
  plan = make_plan(augmentation=augment.NO_AUGMENTATION)
  source = array_source.ArraySource(plan, cache_images=True)
  for iteration in source.iterate(0, 3):
    iteration.base[0].image[:] = 0
  clean = array_source.ArraySource(plan, cache_images=False)
  assert_same(*(next(s.iterate(3, 4)) for s in (source, clean)))


@pytest.mark.parametrize(
  ("options", "reads"),
  [
    ({"cache_images": True}, 27),
    ({}, 27),
    ({"cache_bytes": 1}, 96),
    ({"cache_images": False}, 96),
  ],
)
def test_cache_reads_each_file_once(make_plan, monkeypatch, options, reads):
  plan = make_plan(first_base_updates=1)
  count = []
  real = images.load_image
  monkeypatch.setattr(
    images, "load_image", lambda *a: count.append(a[0]) or real(*a)
  )
  source = array_source.ArraySource(plan, workers=1, **options)
  list(source.iterate(0, 4))
  list(source.iterate(0, 0))
  if reads == 27:
    assert len(count) == len(set(count)) <= 27
  else:
    assert len(count) == reads


def test_closing_early_stops_threads(make_plan):
  iterator = array_source.ArraySource(make_plan(), workers=3).iterate(0)
  next(iterator)
  assert image_threads()
  iterator.close()
  assert not image_threads()


def test_closing_early_drops_the_work_ahead(make_plan, monkeypatch):
  count = []
  real = images.load_image
  monkeypatch.setattr(
    images, "load_image", lambda *a: count.append(a[0]) or real(*a)
  )
  source = array_source.ArraySource(
    make_plan(), workers=1, prefetch=100, cache_images=False
  )
  iterator = source.iterate(0)
  next(iterator)
  iterator.close()
  assert len(count) < 1000  # of 2,500 asked for


def test_dropping_the_iterator_stops_threads(make_plan):
  for _ in array_source.ArraySource(make_plan(), workers=3).iterate(0):
    break
  assert not image_threads()


def test_running_out_stops_threads(make_plan):
  source = array_source.ArraySource(make_plan(), workers=3)
  assert len(list(source.iterate(0, 2))) == 2
  assert not image_threads()
  assert list(source.iterate(7, 7)) == []


def test_bad_file_surfaces_as_a_user_error(make_plan, make_records):
  records = make_records()
  with open(records[4].path, "wb") as file:
    file.write(b"no image")
  source = array_source.ArraySource(make_plan(records), workers=2)
  with pytest.raises(UserError, match=r"d0/1/1.png cannot be read \(it is not"):
    list(source.iterate(0, 20))
  assert not image_threads()


def test_bad_file_is_reported_when_it_is_due(make_plan, make_records):
  records = make_records()
  plan = make_plan(records, first_base_updates=1)
  used = [
    {int(i) for draw in plan.draws(step) for i in draw.rows}
    for step in range(9)
  ]
  first = {
    i: next(s for s in range(9) if i in used[s]) for i in set.union(*used)
  }
  index, step = max(first.items(), key=lambda item: item[1])
  assert step > 0
  with open(records[index].path, "wb") as file:
    file.write(b"no image")
  iterator = array_source.ArraySource(plan, workers=2).iterate(0)
  for _ in range(step):
    next(iterator)
  with pytest.raises(UserError, match="cannot be read"):
    next(iterator)


def test_person_with_one_image_works(make_plan, make_records):
  records = [r for r in make_records() if r.path.endswith("/0.png")]
  plan = make_plan(records, augmentation=augment.NO_AUGMENTATION)
  (got,) = array_source.ArraySource(plan, workers=1).iterate(1, 2)
  pairs = got.base[0].image.reshape(6, 2, -1)
  np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])


@pytest.mark.parametrize("options", [{"workers": 0}, {"prefetch": -1}])
def test_numbers_out_of_range(make_plan, options):
  with pytest.raises(UserError, match="out of range; use at least 1 and 0"):
    array_source.ArraySource(make_plan(), **options)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2)])
def test_bad_range_fails_at_once(make_plan, start, stop):
  with pytest.raises(ValueError, match="want 0 <= start <= stop"):
    array_source.ArraySource(make_plan()).iterate(start, stop)
