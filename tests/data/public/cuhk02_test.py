from __future__ import annotations

import collections
import pathlib
import shutil

import pytest

from metabin_jax.data.public import cuhk02, definition, reading
from metabin_jax.data.public.cuhk02 import CUHK02, GRAMMAR
from metabin_jax.errors import UserError

PERSONS = {"P1": 971, "P2": 306, "P3": 107, "P4": 193, "P5": 239}


@pytest.fixture
def root(miniature):
  return miniature("cuhk02")


@pytest.fixture
def as_published(root, monkeypatch, counts_of):
  monkeypatch.setattr(cuhk02, "EXPECTED", counts_of(CUHK02, root))
  first = counts_of(CUHK02, root, pairs="P1")
  monkeypatch.setattr(cuhk02, "EXPECTED_P1", first)


@pytest.fixture
def copy(root, tmp_path):
  return shutil.copytree(root, tmp_path / "cuhk02")


def read(root, **options):
  return reading.read_public(CUHK02, str(root), name="c2", options=options)


def listed(root, **options):
  return reading.list_items(CUHK02, str(root), options)


def test_grammar():
  found = GRAMMAR.fullmatch("0012_2.png")
  assert found is not None
  assert (found["pid"], found["image"]) == ("0012", "2")


@pytest.mark.parametrize(
  "name", ["1.png", "1_2.jpg", "1_2_3.png", "a1_2.png", "1_.png", "1_2.png.png"]
)
def test_grammar_refuses(name):
  assert GRAMMAR.fullmatch(name) is None


def test_the_published_set(tmp_path, monkeypatch):
  def names(folder):
    persons = range(1, PERSONS[pathlib.Path(folder).parent.name] + 1)
    return [f"{p:03d}_{i}.png" for p in persons for i in (1, 2)], [], 0

  monkeypatch.setattr(cuhk02, "list_folder", names)
  for pair in PERSONS:
    for camera in ("cam1", "cam2"):
      (tmp_path / "cuhk02" / pair / camera).mkdir(parents=True)
  everything = read(tmp_path, use="all")
  assert len(everything.train) == 7264
  assert len({record.pid for record in everything.train}) == 1816
  assert len({record.camid for record in everything.train}) == 10
  assert everything.provenance.notes == ()
  only_first = read(tmp_path, use="all", pairs="P1")
  assert len({record.pid for record in only_first.train}) == 971
  # The rows of DualNorm's classifier.
  assert 971 + 1467 + 1501 + 1812 + 11934 == 17685


def test_parts_and_cameras(root):
  found = listed(root)
  assert definition.tally(found.items) == {
    "train": (32, 8),
    "query": (16, 8),
    "gallery": (16, 8),
  }
  cameras = collections.Counter(item.camid for item in found.items)
  persons = (3, 3, 2, 2, 1, 1, 2, 2, 8, 8)
  assert cameras == {c: 2 * n for c, n in enumerate(persons, start=1)}
  assert {i.camid for i in found.items if i.part == "query"} == {9}
  assert {i.camid for i in found.items if i.part == "gallery"} == {10}
  assert found.missing == found.unknown == ()


def test_names_and_persons(root):
  first = listed(root).items[0]
  assert first.name == "P1/cam1/001_1.png"
  assert first.pid == "P1_001"
  assert first.path == str(root / "P1" / "cam1" / "001_1.png")
  persons = {i.pid for i in listed(root).items if i.pid.endswith("_001")}
  assert persons == {f"P{pair}_001" for pair in range(1, 6)}


def test_both_layouts_are_the_same_set(root, miniature):
  inner = miniature("cuhk02", "Dataset")
  assert [(i.name, i.pid, i.camid, i.part) for i in listed(root).items] == [
    (i.name, i.pid, i.camid, i.part) for i in listed(inner).items
  ]
  assert "Dataset" in listed(inner).items[0].path


def test_a_folder_around_it(root):
  assert listed(root.parent).items == listed(root).items


def test_layouts_at_once_are_refused(copy):
  shutil.copytree(copy / "P1", copy / "Dataset" / "P1")
  with pytest.raises(UserError, match=r"holds CUHK02 twice.*cuhk02/Dataset\.$"):
    listed(copy)
  assert len(listed(copy / "Dataset").items) == 12


def test_another_folder(tmp_path):
  (tmp_path / "cam1").mkdir()
  message = r"no folder P1\.\.P5 or Dataset/P1\.\.P5, .* cam1 .*want P1\.\.P5/"
  with pytest.raises(UserError, match=message):
    listed(tmp_path)


def test_uses(root, as_published):
  standard = read(root)
  assert len(standard.train) == 32
  (fold,) = standard.folds
  assert len(fold.query) == len(fold.gallery) == 16
  assert {r.pid[:6] for r in fold.query} == {"c2/P5_"}
  everything = read(root, use="all")
  assert (len(everything.train), everything.folds) == (64, ())
  train = read(root, use="train")
  assert (len(train.train), train.folds) == (32, ())


def test_first_pair_only(root, as_published):
  dataset = read(root, pairs="P1")
  assert {r.pid for r in dataset.train} == {f"c2/P1_00{i}" for i in (1, 2, 3)}
  assert {r.camid for r in dataset.train} == {1, 2}
  assert dataset.folds == ()
  assert dataset.provenance.variant == "P1"
  with pytest.raises(UserError, match="choose one of all, P1"):
    read(root, pairs="P2")


def test_wrong_counts(root):
  message = (
    r"cuhk02 in .*train: expected 6,308 images of 1,577 persons, found 32 "
    r"images of 8 persons; query: expected 478 images of 239 persons"
  )
  with pytest.raises(UserError, match=message):
    read(root)
  (note,) = read(root, partial="allow").provenance.notes
  assert note.startswith("cuhk02 is partial: train: expected 6,308")
  with pytest.raises(UserError, match=r"cuhk02 \(P1\) .*3,884 images of 971"):
    read(root, pairs="P1")


def test_incomplete_persons(copy, as_published):
  (copy / "P2" / "cam2" / "002_1.png").unlink()
  for index in (1, 2):
    (copy / "P5" / "cam1" / f"003_{index}.png").unlink()
  assert listed(copy).missing == (
    "P2/cam2/002_* (1 of 2)",
    "P5/cam1/003_* (0 of 2)",
  )
  with pytest.raises(UserError, match=r"2 missing: P2/cam2/002_\* \(1 of 2\),"):
    read(copy)


def test_a_missing_folder_is_named_once(copy):
  shutil.rmtree(copy / "P3")
  shutil.rmtree(copy / "P4" / "cam2")
  assert listed(copy).missing == ("P3/cam1", "P3/cam2", "P4/cam2")


def test_unknown_names_and_third_images(copy, as_published):
  for name in (
    "001_3.png",
    "readme.png",
    "001.jpg",
    "notes.txt",
    "._002_1.png",
  ):
    (copy / "P1" / "cam2" / name).touch()
  found = listed(copy)
  assert found.unknown == (
    "P1/cam2/001.jpg",
    "P1/cam2/001_3.png",
    "P1/cam2/readme.png",
  )
  assert definition.tally(found.items) == cuhk02.EXPECTED
  with pytest.raises(UserError, match="all counts as published; 3 unknown"):
    read(copy)


def test_nothing_is_written(root, files_below, as_published):
  before = files_below(root)
  read(root)
  assert files_below(root) == before


def test_overlap():
  assert CUHK02.overlaps == ("cuhk01",)
