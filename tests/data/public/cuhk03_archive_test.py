"""The images of cuhk-03.mat."""

from __future__ import annotations

import os
import pathlib
import sys

import numpy as np
import pytest
from miniatures import cuhk03 as small
from PIL import Image

from metabin_jax.data.public import reading
from metabin_jax.data.public.cuhk03 import CUHK03
from metabin_jax.errors import UserError

h5py = pytest.importorskip("h5py")


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


def list_items(root, **options):
  return reading.list_items(CUHK03, str(root), options)


def test_archive_gives_the_very_images(miniature, cache):
  root = miniature("cuhk03")
  archived = miniature("cuhk03", "mat")
  before = sorted(archived.rglob("*"))
  for kind in small.KINDS:
    found = list_items(archived, type=kind)
    assert found.variant == f"{kind}, cuhk-03.mat"
    expected = list_items(root, type=kind)
    assert [item[1:] for item in found.items] == [
      item[1:] for item in expected.items
    ]
    for item, other in zip(found.items, expected.items, strict=True):
      assert item.path.startswith(str(cache))
      np.testing.assert_array_equal(
        np.asarray(Image.open(item.path)), np.asarray(Image.open(other.path))
      )
  assert sorted(archived.rglob("*")) == before
  # The lists of the new protocol beside the archive are used.
  assert {item.part for item in found.items} == {"train", "query", "gallery"}


def test_extraction_continues(miniature, cache):
  archived = miniature("cuhk03", "mat")
  items = list_items(archived).items
  times = {item.path: os.stat(item.path).st_mtime_ns for item in items}
  os.unlink(items[5].path)
  os.truncate(items[2].path, 20)
  assert list_items(archived).items == items
  again = {item.path: os.stat(item.path).st_mtime_ns for item in items}
  assert [path for path in times if times[path] != again[path]] == [
    items[2].path,
    items[5].path,
  ]


def test_h5py_is_needed_for_the_archive(miniature, cache, monkeypatch):
  monkeypatch.setitem(sys.modules, "h5py", None)
  with pytest.raises(UserError, match=r"cuhk-03.mat needs h5py: pip install"):
    list_items(miniature("cuhk03", "mat"))


def test_broken_archive(tmp_path, cache):
  archive = pathlib.Path(tmp_path, "cuhk-03.mat")
  archive.write_bytes(b"cut off")
  with pytest.raises(UserError, match=r"cuhk-03.mat is no readable HDF5 file"):
    list_items(tmp_path)
  with h5py.File(archive, "w") as mat:
    mat["testsets"] = np.zeros(2)
  with pytest.raises(UserError, match=r"has no 'detected', only testsets"):
    list_items(tmp_path)
  with h5py.File(archive, "w") as mat:
    pair = mat.create_dataset("pair", data=np.zeros((9, 3)))
    outer = np.empty((1, 1), h5py.ref_dtype)
    outer[0, 0] = pair.ref
    mat.create_dataset("detected", data=outer)
  with pytest.raises(UserError, match=r"pair 1 of 'detected' .* \(3, 9\)"):
    list_items(tmp_path)
