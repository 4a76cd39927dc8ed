"""Images written below the cache folder: complete or not there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from metabin_jax.data.public import extraction
from metabin_jax.errors import UserError


@pytest.fixture
def archive(tmp_path):
  path = tmp_path / "archive.mat"
  path.write_bytes(b"abc")
  os.utime(path, ns=(10**18, 10**18))
  return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


def load(name):
  value = int(name.removesuffix(".png").rpartition("/")[2])
  image = np.arange(8 * 4 * 3, dtype=np.uint8).reshape(8, 4, 3)
  return image + np.uint8(value)


def files_below(folder):
  paths = (path for path in folder.rglob("*") if path.is_file())
  return sorted(str(path.relative_to(folder)) for path in paths)


def test_folder_lies_in_the_cache_and_is_not_made(archive, cache):
  folder = pathlib.Path(extraction.folder_for("toy", [archive]))
  assert folder.parent == cache / "extracted"
  assert folder.name.startswith("toy-")
  assert not cache.exists()


def test_folder_without_the_variable(archive, monkeypatch):
  monkeypatch.delenv("METABIN_CACHE")
  monkeypatch.setenv("HOME", "/home/nobody")
  folder = extraction.folder_for("toy", [archive])
  assert folder.startswith("/home/nobody/.cache/metabin_jax/extracted/toy-")


def test_folder_depends_on_what_is_extracted(archive, tmp_path):
  def folder(files=(archive,), *details, name="toy"):
    return extraction.folder_for(name, files, *details)

  first = folder()
  assert folder() == first
  copy = tmp_path / "copy.mat"
  copy.write_bytes(b"abc")
  os.utime(copy, ns=(10**18, 10**18))
  others = [
    folder((archive,), "detected"),
    folder((archive,), "labeled"),
    folder((archive, archive)),
    folder((str(copy),)),
    folder(name="other"),
  ]
  os.utime(archive, ns=(10**18, 10**18 + 1))
  others.append(folder())
  pathlib.Path(archive).write_bytes(b"abcd")
  os.utime(archive, ns=(10**18, 10**18))
  others.append(folder())
  assert len({first, *others}) == 1 + len(others)


def test_a_link_names_the_same_folder(archive, tmp_path):
  link = tmp_path / "link.mat"
  link.symlink_to(archive)
  assert extraction.folder_for("toy", [str(link)]) == extraction.folder_for(
    "toy", [archive]
  )


def test_images_are_exact(tmp_path):
  folder = tmp_path / "out"
  extraction.write_images(str(folder), ["1.png", "sub/2.png"], load)
  for name in ("1.png", "sub/2.png"):
    np.testing.assert_array_equal(
      np.asarray(Image.open(folder / name)), load(name)
    )
  assert files_below(folder) == ["1.png", "sizes.json", "sub/2.png"]


def test_only_missing_images_are_loaded(tmp_path):
  loaded = []

  def note(name):
    loaded.append(name)
    return load(name)

  folder = str(tmp_path / "out")
  extraction.write_images(folder, ["1.png", "2.png"], note)
  extraction.write_images(folder, ["1.png", "3.png", "2.png"], note)
  assert loaded == ["1.png", "2.png", "3.png"]


@pytest.fixture
def written(tmp_path):
  """A folder of three images, and the function that writes them again.

  It returns the names of what it has loaded.
  """
  folder = tmp_path / "out"
  names = ["1.png", "2.png", "sub/3.png"]

  def write():
    loaded = []

    def note(name):
      loaded.append(name)
      return load(name)

    extraction.write_images(str(folder), names, note)
    return loaded

  assert write() == names
  return folder, write


@pytest.mark.parametrize("name", ["1.png", "sub/3.png"])
@pytest.mark.parametrize("change", [-1, 1, None])
def test_image_of_another_size_is_written_again(written, name, change):
  folder, write = written
  path = folder / name
  data = path.read_bytes()
  path.write_bytes({-1: data[:-1], 1: data + b"0", None: b""}[change])
  assert write() == [name]
  assert path.read_bytes() == data
  assert write() == []


def test_image_that_is_not_listed_is_written_again(written):
  folder, write = written
  sizes = json.loads((folder / "sizes.json").read_text())
  del sizes["2.png"]
  (folder / "sizes.json").write_text(json.dumps(sizes))
  assert write() == ["2.png"]
  assert write() == []


@pytest.mark.parametrize(
  "text", [b"", b'{"1.png": 1', b"[1, 2]", b"3", b"null", b"\xff\xfe\x00", None]
)
def test_list_that_cannot_be_read_counts_as_none(written, text):
  folder, write = written
  index = folder / "sizes.json"
  before = index.read_bytes()
  if text is None:
    index.unlink()
  else:
    index.write_bytes(text)
  assert write() == ["1.png", "2.png", "sub/3.png"]
  assert index.read_bytes() == before


def test_list_keeps_what_another_process_has_added(tmp_path):
  folder = str(tmp_path / "out")

  def meanwhile(name):
    extraction.write_images(folder, ["2.png"], load)
    return load(name)

  extraction.write_images(folder, ["1.png"], meanwhile)
  sizes = json.loads((tmp_path / "out" / "sizes.json").read_text())
  assert sorted(sizes) == ["1.png", "2.png"]


def test_nothing_is_written_without_need(written):
  folder, write = written
  before = (folder / "sizes.json").stat()
  assert write() == []
  assert (folder / "sizes.json").stat() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("no scene")])
def test_stopped_in_the_middle(tmp_path, error):
  """What is written is listed, and the next call goes on."""
  folder = tmp_path / "out"
  names = ["1.png", "2.png", "3.png"]

  def stop(name):
    if name == "2.png":
      raise error
    return load(name)

  with pytest.raises(type(error) if isinstance(error, UserError) else error):
    extraction.write_images(str(folder), names, stop)
  assert files_below(folder) == ["1.png", "sizes.json"]
  first = (folder / "1.png").stat()
  extraction.write_images(str(folder), names, load)
  assert files_below(folder) == [*names, "sizes.json"]
  assert (folder / "1.png").stat() == first


@contextlib.contextmanager
def full_disk(path, mode):
  """Opens a file that takes two bytes."""

  class Full(io.FileIO):
    def write(self, data):
      super().write(data[:2])
      raise OSError(28, "No space left on device")

  with Full(path, mode) as file:
    yield file


def test_full_disk(tmp_path, monkeypatch):
  monkeypatch.setattr(extraction, "open", full_disk, raising=False)
  with pytest.raises(
    UserError,
    match=r"1.png cannot be written \(No space left on device\); make room "
    r".*METABIN_CACHE.*continues",
  ):
    extraction.write_images(str(tmp_path / "out"), ["1.png"], load)
  assert list((tmp_path / "out").iterdir()) == []


def test_disk_that_fills_up_names_the_image(tmp_path, monkeypatch):
  """That the sizes cannot be written either is not what went wrong first."""

  def fill(name):
    if name == "2.png":
      monkeypatch.setattr(extraction, "open", full_disk, raising=False)
    return load(name)

  folder = tmp_path / "out"
  with pytest.raises(UserError, match=r"2.png cannot be written \(No space"):
    extraction.write_images(str(folder), ["1.png", "2.png"], fill)
  assert files_below(folder) == ["1.png"]


@pytest.mark.parametrize("sync", [True, False])
def test_file_is_on_the_disk_before_it_has_its_name(
  tmp_path, monkeypatch, sync
):
  target = tmp_path / "sub" / "file"
  real, sizes = os.fsync, []

  def fsync(number):
    assert not target.exists()
    sizes.append(os.fstat(number).st_size)
    real(number)

  monkeypatch.setattr(os, "fsync", fsync)
  extraction.write_file(target, b"abc", sync=sync)
  assert sizes == ([3] if sync else [])
  assert target.read_bytes() == b"abc"
  assert files_below(tmp_path) == ["sub/file"]


def test_sizes_are_synced(tmp_path, monkeypatch):
  synced = []
  monkeypatch.setattr(os, "fsync", synced.append)
  extraction.write_images(str(tmp_path / "out"), ["1.png", "2.png"], load)
  assert len(synced) == 1


def test_cache_below_a_file(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match=r"1.png cannot be written \(Not a dir"):
    extraction.write_images(str(tmp_path / "file" / "out"), ["1.png"], load)
