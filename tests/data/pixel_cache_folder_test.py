"""Names of the caches, and the lock on them."""

from __future__ import annotations

import json
import os
import pathlib

import PIL
import pytest

from metabin_jax.data import pixel_cache_folder
from metabin_jax.data.pixel_cache_folder import (
  default_root,
  describe,
  find_folder,
  locked,
)
from metabin_jax.errors import UserError


@pytest.fixture(name="paths")
def paths_fixture(touch, tmp_path):
  touch("data/a.png", "data/b.png")
  paths = [str(tmp_path / "data" / name) for name in ("a.png", "b.png")]
  for path in paths:
    os.utime(path, ns=(10, 10))
  return paths


@pytest.fixture(name="name")
def name_fixture(paths):
  """name() -> name of the folder of the two files at 8x4 pixels."""
  return lambda height=8, width=4: find_folder(
    pathlib.Path("r"), paths, height, width
  )


def test_place(name):
  folder = name()
  assert folder.parent == pathlib.Path("r/pixels")
  assert len(folder.name) == 64
  assert folder == name()
  assert not pathlib.Path("r").exists()


def test_sizes_have_names_of_their_own(name):
  assert len({name(), name(height=9), name(width=5), name(4, 8)}) == 4


def test_changed_files_have_another_name(name, paths):
  before = name()
  os.utime(paths[1], ns=(10, 11))
  later = name()
  pathlib.Path(paths[1]).write_bytes(b"x")
  os.utime(paths[1], ns=(10, 11))
  longer = name()
  assert len({before, later, longer}) == 3
  pathlib.Path(paths[1]).write_bytes(b"")
  os.utime(paths[1], ns=(10, 10))
  assert name() == before


def test_other_files_have_another_name(name, paths, tmp_path):
  before = name()
  moved = tmp_path / "data" / "c.png"
  pathlib.Path(paths[1]).rename(moved)
  root = pathlib.Path("r")
  renamed = find_folder(root, [paths[0], str(moved)], 8, 4)
  fewer = find_folder(root, paths[:1], 8, 4)
  assert len({before, renamed, fewer}) == 3


@pytest.mark.parametrize("what", ["format", "pillow", "libjpeg"])
def test_another_decoder_or_format_has_another_name(name, monkeypatch, what):
  before = name()
  if what == "format":
    monkeypatch.setattr(pixel_cache_folder, "FORMAT_VERSION", 2)
  elif what == "pillow":
    monkeypatch.setattr(PIL, "__version__", "0.0")
  else:
    monkeypatch.setattr(
      pixel_cache_folder.features, "version_feature", lambda name: "0.0"
    )
  assert name() != before


def test_a_missing_file(name, paths):
  os.unlink(paths[0])
  with pytest.raises(UserError, match=r"data/a.png cannot be found \(No such"):
    name()


def test_default_root(monkeypatch, tmp_path):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path))
  assert default_root() == tmp_path
  monkeypatch.setenv("METABIN_CACHE", "")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert default_root() == tmp_path / ".cache" / "metabin_jax"


def test_description(tmp_path):
  describe(tmp_path, "shop", ["/x/a.png", "/x/b.png"], 8, 4, ("a note",))
  about = json.loads((tmp_path / "about.json").read_text())
  assert about["data_set"] == "shop"
  assert about["first_file"] == "/x/a.png"
  assert about["notes"] == ["a note"]
  assert (about["images"], about["height_px"], about["width_px"]) == (2, 8, 4)
  assert [path.name for path in tmp_path.iterdir()] == ["about.json"]


def test_a_description_that_cannot_be_written(tmp_path, monkeypatch):
  def fail(*unused):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "replace", fail)
  with pytest.raises(OSError, match="No space"):
    describe(tmp_path, "shop", ["/x/a.png"], 8, 4)
  assert list(tmp_path.iterdir()) == []


def never():
  return False


def test_one_holds_the_lock(tmp_path):
  waits = []
  folder = tmp_path / "new" / "folder"
  with locked(folder, on_wait=lambda: waits.append(1), stopped=never) as first:
    assert first
    assert not waits
    answers = iter([False, False, True])
    with locked(
      folder, on_wait=lambda: waits.append(2), stopped=lambda: next(answers)
    ) as second:
      assert not second
  assert waits == [2]
  with locked(folder, on_wait=lambda: waits.append(3), stopped=never) as third:
    assert third
  assert waits == [2]


def test_the_lock_is_taken_when_it_is_free(tmp_path):
  first = locked(tmp_path, on_wait=lambda: None, stopped=never)
  assert first.__enter__()
  # What waits lets the other one go on and end.
  with locked(
    tmp_path, on_wait=lambda: first.__exit__(None, None, None), stopped=never
  ) as second:
    assert second


def test_a_disk_without_locks(tmp_path, monkeypatch):
  import fcntl

  def refuse(*unused):
    raise OSError(37, "No locks available")

  monkeypatch.setattr(fcntl, "flock", refuse)
  with pytest.raises(OSError, match="No locks"):
    with locked(tmp_path, on_wait=lambda: None, stopped=never):
      pass
