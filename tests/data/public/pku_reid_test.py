from __future__ import annotations

import shutil

import pytest

from metabin_jax.data.public import definition, pku_reid, reading
from metabin_jax.data.public.pku_reid import GRAMMAR, PKU_REID
from metabin_jax.errors import UserError


@pytest.fixture
def root(miniature):
  return miniature("pku_reid")


@pytest.fixture
def as_published(root, monkeypatch, counts_of):
  monkeypatch.setattr(pku_reid, "EXPECTED", counts_of(PKU_REID, root))


def read(root, **options):
  return reading.read_public(PKU_REID, str(root), name="pku", options=options)


def listed(root):
  return reading.list_items(PKU_REID, str(root), {})


def test_grammar():
  found = GRAMMAR.fullmatch("114_02_8.png")
  assert found is not None
  assert found.groups() == ("114", "02", "8")


@pytest.mark.parametrize(
  "name",
  ["1_01_1.png", "001_03_1.png", "001_01_9.png", "001_1_1.png", "001_01_1.jpg"],
)
def test_grammar_refuses(name):
  assert GRAMMAR.fullmatch(name) is None


def test_camera_1_asks_camera_2(root, as_published):
  dataset = read(root)
  assert dataset.train == ()
  (fold,) = dataset.folds
  assert len(fold.query) == len(fold.gallery) == 64
  assert {r.camid for r in fold.query} == {1}
  assert {r.camid for r in fold.gallery} == {2}
  assert {r.pid for r in fold.query} == {r.pid for r in fold.gallery}
  assert fold.query[0].pid == "pku/001"
  everything = read(root, use="all")
  assert (len(everything.train), everything.folds) == (128, ())


def test_the_published_set(tmp_path, monkeypatch):
  names = [
    f"{person:03d}_{camera:02d}_{orientation}.png"
    for person in range(1, 115)
    for camera in (1, 2)
    for orientation in range(1, 9)
  ]
  monkeypatch.setattr(pku_reid, "list_folder", lambda folder: (names, [], 0))
  found = listed(tmp_path)
  assert len(found.items) == 1824
  assert definition.tally(found.items) == found.expected


def test_a_part_of_the_persons(root):
  message = "expected 912 images of 114 persons, found 64 images of 8 persons"
  with pytest.raises(UserError, match=message):
    read(root)
  (note,) = read(root, partial="allow").provenance.notes
  assert message in note


def test_missing_and_unknown_names(root, tmp_path, as_published):
  copy = shutil.copytree(root, tmp_path / "PKU-Reid" / "PKUv1a_128x48")
  (copy / "003_02_8.png").rename(copy / "003_02_9.png")
  found = listed(tmp_path)
  assert found.missing == ("003_02_8.png",)
  assert found.unknown == ("003_02_9.png",)
  with pytest.raises(UserError, match=r"1 missing: 003_02_8\.png; 1 unknown"):
    read(tmp_path / "PKU-Reid")


def test_nothing_is_written(root, files_below, as_published):
  before = files_below(root)
  read(root)
  assert files_below(root) == before


@pytest.mark.parametrize("above", ["", "pku_reid", "pku_reid/images"])
def test_images_may_lie_in_a_folder_of_their_own(
  root, as_published, tmp_path, above
):
  """data/pku_reid/images: named by each of the three."""
  shutil.copytree(root, tmp_path / "pku_reid" / "images")
  (fold,) = read(tmp_path / above).folds
  assert len(fold.query) == 64
