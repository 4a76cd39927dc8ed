"""Images written below the cache folder: complete or not there."""

from __future__ import annotations

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
  assert sorted(p.name for p in folder.rglob("*")) == ["1.png", "2.png", "sub"]


def test_only_missing_images_are_loaded(tmp_path):
  loaded = []

  def note(name):
    loaded.append(name)
    return load(name)

  folder = str(tmp_path / "out")
  extraction.write_images(folder, ["1.png", "2.png"], note)
  extraction.write_images(folder, ["1.png", "3.png", "2.png"], note)
  assert loaded == ["1.png", "2.png", "3.png"]


def test_stopped_in_the_middle(tmp_path, monkeypatch):
  """Nothing half-written stays, and the next call goes on."""
  folder = tmp_path / "out"
  save = Image.Image.save

  def stop(image, place, **words):
    save(image, place, **words)
    if place.name.startswith(".2.png"):
      raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(Image.Image, "save", stop)
    with pytest.raises(KeyboardInterrupt):
      extraction.write_images(str(folder), ["1.png", "2.png", "3.png"], load)
  assert [p.name for p in folder.iterdir()] == ["1.png"]
  extraction.write_images(str(folder), ["1.png", "2.png", "3.png"], load)
  assert len(list(folder.iterdir())) == 3


def test_full_disk(tmp_path, monkeypatch):
  def fail(image, place, **words):
    del image, words
    place.write_bytes(b"half")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(Image.Image, "save", fail)
  with pytest.raises(
    UserError,
    match=r"1.png cannot be written \(No space left on device\); make room "
    r".*METABIN_CACHE.*continues",
  ):
    extraction.write_images(str(tmp_path / "out"), ["1.png"], load)
  assert list((tmp_path / "out").iterdir()) == []


def test_cache_below_a_file(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match=r"1.png cannot be written \(Not a dir"):
    extraction.write_images(str(tmp_path / "file" / "out"), ["1.png"], load)
