"""Reading from the cache: the pixels of `load_image`, whatever happens."""

from __future__ import annotations

import logging
import os
import pathlib
import threading

import numpy as np
import pytest

from metabin_jax.data import images, pixel_preparation
from metabin_jax.data.pixel_cache_file import file_bytes
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError

HEIGHT, WIDTH = 16, 8
IMAGE = HEIGHT * WIDTH * 3


@pytest.fixture(name="datasets")
def datasets_fixture(make_records):
  """Three data sets with nine images each."""
  records = make_records(suffix="jpg")
  return [DataSet(f"d{i}", tuple(records[9 * i : 9 * i + 9])) for i in range(3)]


@pytest.fixture(name="prepare")
def prepare_fixture(tmp_path, datasets):
  def prepare(chosen=datasets):
    return pixel_preparation.prepare(
      chosen,
      height=HEIGHT,
      width=WIDTH,
      root=tmp_path / "cache",
      workers=2,
      say=lambda line: None,
    )

  return prepare


@pytest.fixture(name="decoded")
def decoded_fixture(monkeypatch):
  """The files that are decoded."""
  paths = []
  real = images.load_image
  monkeypatch.setattr(
    images, "load_image", lambda *a: paths.append(a[0]) or real(*a)
  )
  return paths


def all_paths(datasets):
  return [record.path for dataset in datasets for record in dataset.train]


def assert_right(cache, paths):
  for path in paths:
    want = images.load_image(path, HEIGHT, WIDTH)
    np.testing.assert_array_equal(cache.load(path), want)


def flip(part, row, place=0):
  """Turns a bit of an image, in the file that is open."""
  file = part.folder / "images.bin"
  offset = file_bytes(len(part.paths), HEIGHT, WIDTH)
  offset += (row - len(part.paths)) * IMAGE + place
  with open(file, "r+b") as data:
    data.seek(offset)
    byte = data.read(1)[0]
    data.seek(offset)
    data.write(bytes([byte ^ 1]))


def test_pixels_are_those_of_load_image(prepare, datasets, decoded):
  cache = prepare()
  assert [part.name for part in cache.parts] == ["d0", "d1", "d2"]
  assert sorted(decoded) == sorted(all_paths(datasets))
  decoded.clear()
  loaded = {path: cache.load(path) for path in all_paths(datasets)}
  assert not decoded
  for path, got in loaded.items():
    assert got.dtype == np.uint8
    want = images.load_image(path, HEIGHT, WIDTH)
    np.testing.assert_array_equal(got, want)


def test_the_files_may_be_gone_once_they_are_prepared(prepare, datasets):
  cache = prepare()
  want = cache.load(all_paths(datasets)[3]).copy()
  for path in all_paths(datasets):
    os.unlink(path)
  np.testing.assert_array_equal(cache.load(all_paths(datasets)[3]), want)


def test_other_files_are_unknown(prepare, datasets):
  cache = prepare(datasets[:1])
  with pytest.raises(KeyError):
    cache.load(datasets[1].train[0].path)


def test_size_is_checked(prepare):
  cache = prepare()
  cache.check_size(HEIGHT, WIDTH)
  for size in ((WIDTH, HEIGHT), (HEIGHT, WIDTH + 1), (HEIGHT + 1, WIDTH)):
    with pytest.raises(ValueError, match="the cache holds 16x8 pixels"):
      cache.check_size(*size)


@pytest.mark.parametrize("place", [0, IMAGE // 2, IMAGE - 1])
def test_a_turned_bit_is_mended_with_one_warning(
  prepare, datasets, decoded, caplog, place
):
  cache = prepare()
  part = cache.parts[1]
  whole = (part.folder / "images.bin").read_bytes()
  decoded.clear()
  flip(part, 4, place)
  flip(part, 7, place)
  assert_right(cache, [part.paths[4]])
  assert len(decoded) == 2  # once by the cache, once by the check
  assert_right(cache, all_paths(datasets))
  (warning,) = caplog.records
  assert warning.levelno == logging.WARNING
  assert part.paths[4] in warning.getMessage()
  assert str(part.folder) in warning.getMessage()
  assert (part.folder / "images.bin").read_bytes() == whole
  decoded.clear()
  again = prepare()
  for path in all_paths(datasets):
    again.load(path)
  assert not decoded


def test_verify_finds_and_mends_everything(prepare, datasets, decoded, caplog):
  cache = prepare()
  decoded.clear()
  assert cache.verify() == 0
  assert not decoded
  assert not caplog.records
  for part, row in ((0, 0), (1, 8), (2, 3), (2, 4)):
    flip(cache.parts[part], row)
  assert cache.verify() == 4
  assert len(decoded) == 4
  assert len(caplog.records) == 3  # one for each data set
  assert cache.verify() == 0
  assert_right(cache, all_paths(datasets))


def test_damaged_pixels_without_their_image(prepare, datasets):
  cache = prepare()
  part = cache.parts[0]
  flip(part, 2)
  os.unlink(part.paths[2])
  with pytest.raises(UserError, match=f"{part.paths[2]} does not exist"):
    cache.load(part.paths[2])


def test_damaged_pixels_of_an_image_that_has_changed_since(
  prepare, write_image, decoded
):
  cache = prepare()
  part = cache.parts[0]
  flip(part, 2)
  write_image(part.paths[2], seed=99)
  want = images.load_image(part.paths[2], HEIGHT, WIDTH)
  decoded.clear()
  for _ in range(2):
    np.testing.assert_array_equal(cache.load(part.paths[2]), want)
  assert len(decoded) == 1


def test_a_cache_that_cannot_be_written_is_still_right(
  prepare, datasets, monkeypatch
):
  cache = prepare()
  part = cache.parts[0]
  flip(part, 2)
  damaged = (part.folder / "images.bin").read_bytes()

  def refuse(*unused):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "pwrite", refuse)
  assert_right(cache, [part.paths[2], part.paths[2]])
  assert (part.folder / "images.bin").read_bytes() == damaged


def test_one_file_in_two_data_sets(prepare, datasets):
  both = DataSet("both", datasets[0].train + datasets[1].train)
  cache = prepare([datasets[0], both])
  assert_right(cache, all_paths([both]))


def test_threads_may_read_and_mend_together(prepare, datasets):
  cache = prepare()
  for part in cache.parts:
    for row in range(0, len(part.paths), 2):
      flip(part, row)
  failures = []

  def work(seed):
    paths = all_paths(datasets)
    try:
      for index in np.random.default_rng(seed).permutation(len(paths)):
        assert_right(cache, [paths[index]])
    except AssertionError as error:
      failures.append(error)

  threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not failures
  assert cache.verify() == 0


def test_nothing_is_written_beside_the_images(prepare, tmp_path, datasets):
  def listing():
    return {
      path: (path.stat().st_mtime_ns, path.stat().st_size)
      for path in tmp_path.rglob("*")
      if tmp_path / "cache" not in (path, *path.parents)
    }

  folders = {pathlib.Path(path).parent for path in all_paths(datasets)}
  before = listing()
  for folder in folders:
    folder.chmod(0o555)
  try:
    cache = prepare()
    flip(cache.parts[0], 1)
    cache.verify()
    assert listing() == before
  finally:
    for folder in folders:
      folder.chmod(0o755)
