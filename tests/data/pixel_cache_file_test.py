"""The file of resized images: records, damage, room on the disk."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from metabin_jax.data import pixel_cache_file
from metabin_jax.data.pixel_cache_file import PixelFile, file_bytes, reserve

COUNT, HEIGHT, WIDTH = 5, 4, 3
START = 4096
IMAGE = HEIGHT * WIDTH * 3


def picture(seed):
  random = np.random.default_rng(seed)
  return random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(name="path")
def path_fixture(tmp_path):
  path = tmp_path / "images.bin"
  reserve(path, file_bytes(COUNT, HEIGHT, WIDTH))
  return path


def reopen(path):
  return PixelFile(path, COUNT, HEIGHT, WIDTH)


def flip(path, place):
  data = bytearray(path.read_bytes())
  data[place] ^= 1
  path.write_bytes(data)


def test_lengths():
  assert file_bytes(COUNT, HEIGHT, WIDTH) == START + COUNT * IMAGE
  assert file_bytes(512, 1, 1) == 4096 + 512 * 3
  assert file_bytes(513, 1, 1) == 8192 + 513 * 3


def test_a_fresh_file_has_its_room_and_no_image(path):
  status = path.stat()
  assert status.st_size == START + COUNT * IMAGE
  assert status.st_blocks * 512 >= status.st_size
  file = reopen(path)
  assert not file.finished.any()
  assert all(file.read(index) is None for index in range(COUNT))


def test_images_count_once_they_are_committed(path):
  file = reopen(path)
  file.write(1, picture(1))
  file.write(4, picture(4))
  assert not reopen(path).finished.any()
  assert file.read(1) is None
  file.commit()
  file.commit()
  for again in (file, reopen(path)):
    assert again.finished.tolist() == [False, True, False, False, True]
    for index in (1, 4):
      np.testing.assert_array_equal(again.read(index), picture(index))
    assert again.read(0) is None


def test_pixels_reach_the_disk_before_their_record(path, monkeypatch):
  file = reopen(path)
  events = []
  write, sync = os.pwrite, os.fsync
  monkeypatch.setattr(
    os, "pwrite", lambda *a: events.append(a[2] >= START) or write(*a)
  )
  monkeypatch.setattr(os, "fsync", lambda fd: events.append("sync") or sync(fd))
  file.write(0, picture(0))
  file.write(1, picture(1))
  file.commit()
  assert events == [True, True, "sync", False, False, "sync"]


@pytest.mark.parametrize("place", [8, 12, START + IMAGE, START + 2 * IMAGE - 1])
def test_a_turned_bit_is_noticed(path, place):
  file = reopen(path)
  for index in range(3):
    file.write(index, picture(index))
  file.commit()
  flip(path, place)
  for again in (reopen(path), file)[: 1 if place < START else 2]:
    assert again.read(1) is None
    np.testing.assert_array_equal(again.read(0), picture(0))
    np.testing.assert_array_equal(again.read(2), picture(2))


def test_damage_that_comes_while_the_file_is_open(path):
  file = reopen(path)
  for index in range(COUNT):
    file.write(index, picture(index))
  file.commit()
  assert file.read(COUNT - 1) is not None
  os.truncate(path, START + COUNT * IMAGE - 1)
  assert file.read(COUNT - 1) is None
  assert file.read(0) is not None


def test_a_disk_that_fails_counts_as_damage(path, monkeypatch):
  file = reopen(path)
  file.write(0, picture(0))
  file.commit()

  def fail(*unused):
    raise OSError(errno.EIO, "Input/output error")

  monkeypatch.setattr(os, "pread", fail)
  assert file.read(0) is None


@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_is_refused(path, change):
  size = START + COUNT * IMAGE
  os.truncate(path, size + change)
  with pytest.raises(ValueError, match=f"has {size + change:,} bytes, want"):
    reopen(path)


def test_no_file(tmp_path):
  with pytest.raises(FileNotFoundError):
    reopen(tmp_path / "none")


@pytest.mark.parametrize(
  "image", [np.zeros((HEIGHT, WIDTH, 3)), np.zeros((WIDTH, HEIGHT, 3), "u1")]
)
def test_images_of_another_kind_are_refused(path, image):
  with pytest.raises(ValueError, match="want uint8"):
    reopen(path).write(0, image)


def test_images_are_not_to_be_written_to(path):
  file = reopen(path)
  file.write(0, picture(0))
  file.commit()
  with pytest.raises(ValueError, match="read-only"):
    file.read(0)[:] = 0


def test_a_file_that_is_closed_to_us_can_be_read(path, monkeypatch):
  file = reopen(path)
  file.write(0, picture(0))
  file.commit()
  real = os.open

  def refuse(name, flags, *rest):
    if flags & os.O_RDWR:
      raise OSError(errno.EROFS, "Read-only file system", name)
    return real(name, flags, *rest)

  monkeypatch.setattr(os, "open", refuse)
  file = reopen(path)
  np.testing.assert_array_equal(file.read(0), picture(0))
  with pytest.raises(OSError, match="Bad file descriptor"):
    file.write(0, picture(0))


def test_files_are_closed_when_forgotten(path):
  gc.collect()  # what other tests have left open
  before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
  for _ in range(3):
    reopen(path)
    with pytest.raises(ValueError, match="want"):
      PixelFile(path, COUNT + 1, HEIGHT, WIDTH)
  gc.collect()
  after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
  assert after == before


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_room_without_the_system_call(tmp_path, monkeypatch, code):
  def refuse(*unused):
    raise OSError(code, "not here")

  if code is None:
    monkeypatch.delattr(os, "posix_fallocate")
  else:
    monkeypatch.setattr(os, "posix_fallocate", refuse)
  size = 2**20 + 4097
  reserve(tmp_path / "a", size)
  assert (tmp_path / "a").read_bytes() == bytes(size)
  assert (tmp_path / "a").stat().st_blocks * 512 >= size


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["posix_fallocate", "fsync", "replace"])
def test_no_room_leaves_nothing(tmp_path, monkeypatch, code, call):
  def refuse(*unused):
    raise OSError(code, "no room")

  monkeypatch.setattr(os, call, refuse)
  with pytest.raises(OSError, match="no room"):
    reserve(tmp_path / "a", 100)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("without", [True, False])
def test_a_real_limit_on_the_length(tmp_path, without):
  code = (
    "import os, pathlib, resource, sys\n"
    "from metabin_jax.data import pixel_cache_file\n"
    + ("del os.posix_fallocate\n" if without else "")
    + "resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))\n"
    "try:\n"
    "  pixel_cache_file.reserve(pathlib.Path(sys.argv[1]), 2**22)\n"
    "except OSError as error:\n"
    "  print(error.strerror)\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, str(tmp_path / "a")],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout == "File too large\n"
  assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(path, monkeypatch):
  real = os.pwrite
  monkeypatch.setattr(os, "pwrite", lambda fd, d, at: real(fd, d[:5], at))
  file = reopen(path)
  file.write(2, picture(2))
  file.commit()
  monkeypatch.undo()
  np.testing.assert_array_equal(reopen(path).read(2), picture(2))


def test_leftovers_are_used_again(tmp_path):
  (tmp_path / "a.unfinished").write_bytes(b"x" * 500)
  reserve(tmp_path / "a", 100)
  assert (tmp_path / "a").read_bytes() == bytes(100)
  assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_zeros_are_no_record():
  assert pixel_cache_file._MARK != 0
