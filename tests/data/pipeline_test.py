from __future__ import annotations

import builtins
import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from metabin_jax.data import (
  array_source,
  augment,
  batches,
  images,
  pipeline,
  pixel_preparation,
)
from metabin_jax.data.records import DataSet, Record
from metabin_jax.errors import UserError


@pytest.fixture(scope="module")
def tf():
  pytest.importorskip("tensorflow")
  return pipeline.import_tensorflow()


def make_plan(records, **changes):
  options = {
    "batch_size": 12,
    "instances": 2,
    "seed": 0,
    "num_mtrain": 2,
    "height": 24,
    "width": 12,
    "first_base_updates": 2,
    "augmentation": augment.NO_AUGMENTATION,
  }
  return batches.make_batch_plan(records, **{**options, **changes})


def parts(iteration):
  named = iteration.mtrain, iteration.mtest, iteration.unlabelled
  return [batch for batch in (*iteration.base, *named) if batch]


def pairs(one, other):
  for a, b in zip(one, other, strict=True):
    assert a.step == b.step
    for x, y in zip(parts(a), parts(b), strict=True):
      for (name, one), two in zip(x._asdict().items(), y, strict=True):
        if name != "image":
          np.testing.assert_array_equal(one, two)
      yield x.image, y.image


def run_both(plan, stop=3):
  return pairs(
    pipeline.TfSource(plan).iterate(0, stop),
    array_source.ArraySource(plan, workers=2).iterate(0, stop),
  )


@pytest.mark.parametrize("loader", ["array", "tf"])
def test_parts_of_hosts_make_up_the_batches_of_one(
  request, loader, make_records
):
  """With every random change, as each image has draws of its own."""
  if loader == "tf":
    request.getfixturevalue("tf")
  config = augment.AugmentConfig(pad_px=2, jitter=True, erasing_prob=0.5)
  plan = make_plan(make_records(), augmentation=config)

  def read(plan):
    if loader == "tf":
      return list(pipeline.TfSource(plan).iterate(1, 3))
    return list(array_source.ArraySource(plan, workers=2).iterate(1, 3))

  whole = read(plan)
  shares = [
    read(dataclasses.replace(plan, part=batches.Part(index, 2)))
    for index in range(2)
  ]
  for want, *got in zip(whole, *shares, strict=True):
    for batch, *halves in zip(parts(want), *map(parts, got), strict=True):
      for rows, *of_hosts in zip(batch, *halves, strict=True):
        np.testing.assert_array_equal(np.concatenate(of_hosts), rows)


@pytest.mark.parametrize(
  ("height", "width"),
  [(24, 12), (96, 60), (30, 50), (60, 20), (47, 29), (49, 31), (256, 128)],
)
def test_bicubic_resize_equals_pillow(tf, photo, height, width):
  """Down, up, and down on one axis while up on the other."""
  source = Image.fromarray(photo(48, 30))
  want = source.resize((width, height), Image.Resampling.BICUBIC)
  data = tf.io.encode_png(np.asarray(source))
  got = pipeline.decode(tf, data, height, width).numpy()
  assert got.dtype == np.uint8
  assert np.abs(got.astype(int) - np.asarray(want)).max() <= 1


def test_png_batches_equal_array_source(tf, make_records):
  plan = make_plan(make_records(height=40, width=25))
  for one, other in run_both(plan):
    assert np.abs(one.astype(int) - other).max() <= 1


def test_augmented_batches_are_equal_too(tf, make_records):
  # Files of the final size, so that augmentation sees equal pixels.
  config = augment.AugmentConfig(pad_px=3, jitter=True, erasing_prob=0.5)
  plan = make_plan(make_records(), augmentation=config)
  for one, other in run_both(plan):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("height", "width"), [(48, 24), (24, 12), (17, 9)])
def test_jpeg_batches_are_close(tf, make_records, height, width):
  plan = make_plan(make_records(suffix="jpg", height=height, width=width))
  for one, other in run_both(plan):
    difference = np.abs(one.astype(int) - other)
    # Measured: equal but for 1 grey level where enlarged. Other builds of
    # libjpeg may round otherwise.
    assert difference.mean() < 1
    assert difference.max() <= 3


def prepare(records, root, height=24, width=12):
  return pixel_preparation.prepare(
    [DataSet("d", tuple(records))],
    height=height,
    width=width,
    root=root,
    say=lambda line: None,
  )


@pytest.mark.parametrize(("height", "width"), [(24, 12), (48, 24), (17, 9)])
def test_batches_from_the_cache_are_those_of_array_source(
  tf, make_records, photo, tmp_path, height, width
):
  """Also where TensorFlow's own pixels are a grey level off."""
  records = make_records(suffix="jpg", height=height, width=width)
  config = augment.AugmentConfig(pad_px=3, jitter=True, erasing_prob=0.5)
  plan = make_plan(records, augmentation=config)
  want = list(array_source.ArraySource(plan, workers=2).iterate(0, 3))
  pixels = prepare(records, tmp_path / "cache")
  for record in records:  # good files that nobody is to read
    Image.fromarray(photo(height, width, 99)).save(record.path)
  cached = pipeline.TfSource(plan, pixels=pixels).iterate(0, 3)
  for one, other in pairs(cached, want):
    np.testing.assert_array_equal(one, other)


def test_the_cache_changes_no_batch_of_final_size(tf, make_records, tmp_path):
  records = make_records(suffix="jpg")
  plan = make_plan(records, augmentation=augment.AugmentConfig(pad_px=3))
  pixels = prepare(records, tmp_path / "cache")
  cached = pipeline.TfSource(plan, pixels=pixels).iterate(0, 3)
  for one, other in pairs(cached, pipeline.TfSource(plan).iterate(0, 3)):
    np.testing.assert_array_equal(one, other)


def test_damaged_pixels_without_their_image_are_named(
  tf, make_records, tmp_path
):
  records = make_records()
  plan = make_plan(records)
  pixels = prepare(records, tmp_path / "cache")
  part = pixels.parts[0]
  (draw, *_) = plan.draws(0)
  bad = plan.pool.paths[draw.rows[5]]
  with open(part.folder / "images.bin", "r+b") as file:
    row = part.paths.index(bad)
    file.seek(part.file.size - (len(part.paths) - row) * 24 * 12 * 3)
    byte = file.read(1)[0]
    file.seek(-1, os.SEEK_CUR)
    file.write(bytes([byte ^ 1]))
  for record in records:
    os.unlink(record.path)
  with pytest.raises(UserError, match=f"{bad} does not exist"):
    list(pipeline.TfSource(plan, pixels=pixels).iterate(0, 3))


def test_pixels_of_another_size_are_refused(make_records, tmp_path):
  records = make_records()
  pixels = prepare(records, tmp_path / "cache", width=9)
  with pytest.raises(ValueError, match="holds 24x9 pixels, the plan wants"):
    pipeline.TfSource(make_plan(records), pixels=pixels)


def test_resume_is_bit_identical(tf, make_records):
  plan = make_plan(
    make_records(suffix="jpg"), augmentation=augment.AugmentConfig(pad_px=2)
  )
  whole = list(pipeline.TfSource(plan, workers=3).iterate(0, 8))
  tail = list(pipeline.TfSource(plan, workers=1).iterate(5, 8))
  assert len(tail) == 3
  for one, other in pairs(whole[5:], tail):
    np.testing.assert_array_equal(one, other)


def test_without_meta_step(tf, make_records):
  plan = make_plan(make_records(), num_mtrain=None)
  first, second = pipeline.TfSource(plan).iterate(0, 2)
  assert (len(first.base), len(second.base)) == (2, 1)
  assert first.mtrain is None


def test_unlabelled_batches(tf, make_records):
  """With random changes, which hang on the name of the stream."""
  records = make_records()
  plan = make_plan(
    records,
    num_mtrain=None,
    unlabelled=[dataclasses.replace(r, domain="site") for r in records[::-1]],
    unlabelled_size=12,
    augmentation=augment.AugmentConfig(pad_px=2, erasing_prob=0.5),
  )
  compared = 0
  for one, other in run_both(plan):
    np.testing.assert_array_equal(one, other)
    compared += 1
  assert compared == 2 + 2 * 3 - 1  # two base batches at first


def test_odd_formats_go_through_pillow(tf, tmp_path, photo):
  def save(name, image, **options):
    path = str(tmp_path / name)
    image.save(path, **options)
    return path

  turned = Image.Exif()
  turned[0x0112] = 6
  picture = Image.fromarray(photo(40, 25))
  deep = Image.fromarray(photo(40, 25)[..., 0].astype(np.uint16) * 257)
  paths = [
    save("a.jpg", picture.convert("CMYK")),
    save("b.jpg", picture.convert("L")),
    save("c.jpg", picture, exif=turned),
    save("d.png", picture, exif=turned),
    save("e.png", deep),
    save("f.png", picture.convert("P")),
    save("g.png", Image.fromarray(np.full((40, 25, 4), 100, np.uint8))),
    save("h.webp", picture),
    save("i.tif", picture),
    save("é j.bmp", picture),
    save("k.png", picture.convert("L")),
    save("l.png", picture),
  ]
  records = [
    Record(path, f"d/{i}", 0, f"d{i % 2}") for i, path in enumerate(paths)
  ]
  plan = make_plan(records, num_mtrain=None, batch_size=24)
  plain = [images.is_plain(path) for path in paths]
  assert plain == [p[-5] in "bkl" for p in paths]
  for one, other in run_both(plan, stop=2):
    difference = np.abs(one.astype(int) - other)
    assert difference.max() <= 3
    assert difference.mean() < 1


@pytest.mark.parametrize("name", ["0.jpg", "0.png", "0.webp"])
@pytest.mark.parametrize("damage", ["text", "truncated", "gone"])
def test_bad_file_is_named(tf, tmp_path, photo, name, damage):
  records = []
  for i in range(4):
    path = tmp_path / f"{i}.jpg"
    if i == 0:
      path = tmp_path / name
    Image.fromarray(photo(64, 32, i)).save(path)
    records.append(Record(str(path), f"d/{i}", 0, "d"))
  bad = tmp_path / name
  content = bad.read_bytes()
  if damage == "text":
    bad.write_bytes(b"no image")
  elif damage == "truncated":
    bad.write_bytes(content[: len(content) // 2])
  else:
    bad.unlink()
  plan = make_plan(records, num_mtrain=None, batch_size=8)
  with pytest.raises(
    UserError, match=f"{name} (cannot be read|does not exist)"
  ):
    list(pipeline.TfSource(plan).iterate(0, 3))


def test_closing_early_ends(tf, make_records):
  iterator = pipeline.TfSource(make_plan(make_records())).iterate(0)
  assert next(iterator).step == 0
  assert next(iterator).step == 1
  iterator.close()
  with pytest.raises(StopIteration):
    next(iterator)


def test_accelerators_are_hidden(tf):
  assert tf.config.get_visible_devices("GPU") == []
  assert tf.config.get_visible_devices("TPU") == []


def test_missing_tensorflow(monkeypatch, make_records):
  real = builtins.__import__

  def without(name, *args, **kwargs):
    if name.split(".")[0] == "tensorflow":
      raise ModuleNotFoundError("No module named 'tensorflow'")
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, "__import__", without)
  with pytest.raises(
    UserError,
    match=r"No module named 'tensorflow'\); run `pip install -e "
    r"'\.\[data\]'` in the repository's folder, or use the array source",
  ):
    pipeline.TfSource(make_plan(make_records()))


def test_importing_the_package_leaves_tensorflow_and_jax_alone():
  names = (
    "readers records checks images sampling augment batches array_source "
    "pipeline manifest folders pixel_cache pixel_preparation"
  )
  code = "".join(f"import metabin_jax.data.{name}\n" for name in names.split())
  code += "import sys\nassert not {'tensorflow', 'jax'} & set(sys.modules)\n"
  subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("options", [{"workers": 0}, {"prefetch": 0}])
def test_numbers_out_of_range(make_records, options):
  with pytest.raises(UserError, match="out of range; use at least 1"):
    pipeline.TfSource(make_plan(make_records()), **options)
