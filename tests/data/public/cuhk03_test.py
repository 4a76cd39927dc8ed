from __future__ import annotations

import shutil

import pytest
from PIL import Image

from metabin_jax.data import listing
from metabin_jax.data.public import cuhk03, definition, reading
from metabin_jax.data.public.cuhk03 import CUHK03, GRAMMAR, NP_GRAMMAR
from metabin_jax.errors import UserError

ARCHIVE = "cuhk03_release/cuhk-03.mat"
PARTS = {"train": (39, 9), "query": (14, 7), "gallery": (21, 7)}


@pytest.fixture
def root(miniature):
  return miniature("cuhk03")


@pytest.fixture
def as_published(root, monkeypatch, counts_of):
  for kind, name in (
    ("detected", "EXPECTED"),
    ("labeled", "EXPECTED_LABELED"),
  ):
    counts = counts_of(CUHK03, root, type=kind)
    monkeypatch.setattr(cuhk03, name, counts)


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


@pytest.fixture
def copy(root, tmp_path):
  return shutil.copytree(root, tmp_path / "cuhk03")


def read(root, **options):
  return reading.read_public(CUHK03, str(root), name="cuhk03", options=options)


def list_items(root, **options):
  return reading.list_items(CUHK03, str(root), options)


@pytest.mark.parametrize(
  ("name", "pid", "view"),
  [
    ("1_001_1_01.png", "1_001", "1"),
    ("5_049_2_10.png", "5_049", "2"),
    ("1_843_1_05.png", "1_843", "1"),
    ("2_440_2_06.png", "2_440", "2"),
  ],
)
def test_grammar_accepts(name, pid, view):
  found = GRAMMAR.fullmatch(name)
  assert found is not None
  assert (found["pid"], found["view"]) == (pid, view)


@pytest.mark.parametrize(
  "name",
  [
    "0_001_1_01.png",
    "6_001_1_01.png",
    "1_01_1_01.png",
    "1_001_3_01.png",
    "1_001_1_00.png",
    "1_001_1_11.png",
    "1_001_1_06.png",
    "1_001_2_05.png",
    "1_001_2_11.png",
    "1_001_1_01.jpg",
  ],
)
def test_grammar_refuses(name):
  assert GRAMMAR.fullmatch(name) is None


def test_grammar_of_the_new_protocol():
  found = NP_GRAMMAR.fullmatch("0003_c2_27.png")
  assert found is not None
  assert (found["pid"], found["cam"]) == ("0003", "2")
  for name in ("003_c1_1.png", "0003_c3_1.png", "0003_c1.png", "0003_c1_1.gif"):
    assert NP_GRAMMAR.fullmatch(name) is None


def test_images_and_lists(root):
  found = list_items(root)
  assert found.variant == "detected, images_detected"
  assert definition.tally(found.items) == PARTS
  assert (found.missing, found.unknown) == ((), ())
  name = "images_detected/1_004_2_06.png"
  (item,) = [item for item in found.items if item.name == name]
  # Camera 2, although it is image 6: the camera is the view.
  assert item == (str(root / name), name, "1_004", 2, "query", "person")
  assert {item.camid for item in found.items} == {1, 2}


def test_labeled(root, as_published):
  found = list_items(root, type="labeled")
  assert found.variant == "labeled, images_labeled"
  assert definition.tally(found.items)["train"] == (38, 9)
  dataset = read(root, type="labeled")
  assert len(dataset.train) == 38
  assert all("images_labeled" in record.path for record in dataset.train)


def test_uses(root, as_published):
  dataset = read(root)
  (fold,) = dataset.folds
  assert (len(dataset.train), len(fold.query), len(fold.gallery)) == (
    39,
    14,
    21,
  )
  everything = read(root, use="all")
  assert len(everything.train) == 74
  assert len({record.pid for record in everything.train}) == 16
  assert len(read(root, use="train").train) == 39


def test_published_numbers(root, miniature):
  with pytest.raises(
    UserError,
    match=r"cuhk03 \(detected, images_detected\) .*train: expected 7,365 images"
    r" of 767 .*query: expected 1,400 .* 700 .*gallery: expected 5,332 .* 700",
  ):
    read(root)
  with pytest.raises(
    UserError, match=r"train: expected 7,368 .*gallery: expected 5,328"
  ):
    read(root, type="labeled")
  bare = miniature("cuhk03", "no_lists")
  with pytest.raises(UserError, match=r": images: expected 14,097 .* 1,467 p"):
    read(bare, use="all")
  with pytest.raises(UserError, match=r": images: expected 14,096 .* 1,467 p"):
    read(bare, use="all", type="labeled")
  (note,) = read(root, partial="allow").provenance.notes
  assert note.startswith("cuhk03 (detected, images_detected) is partial:")


@pytest.mark.parametrize("use", ["standard", "train"])
def test_without_lists_there_is_no_part(miniature, as_published, use):
  root = miniature("cuhk03", "no_lists")
  assert len(read(root, use="all").train) == 74
  with pytest.raises(
    UserError,
    match=rf"no train part.*use={use} finds nothing.*"
    r"cuhk03_new_protocol_config_detected.mat.*add use=all",
  ):
    read(root, use=use)


def test_cuhk03_np(root, miniature, as_published):
  dataset = read(miniature("cuhk03", "np"))
  assert dataset.provenance.variant == "detected, cuhk03-np"
  assert {record.pid[:12] for record in dataset.train} == {"cuhk03/train"}
  (fold,) = dataset.folds
  assert {record.pid[:11] for record in fold.query} == {"cuhk03/test"}

  def labels(records):
    return sorted((record.pid[-4:], record.camid) for record in records)

  def pixels(records):
    return sorted(Image.open(r.path).tobytes() for r in records)

  assert labels(fold.query)[:3] == [("0004", 1), ("0004", 2), ("0005", 1)]
  from_lists = read(root)
  assert pixels(dataset.train) == pixels(from_lists.train)
  assert pixels(fold.query) == pixels(from_lists.folds[0].query)
  assert len(read(miniature("cuhk03", "np"), type="labeled").train) == 38


def test_packaging_is_found_or_chosen(copy, miniature, cache):
  pytest.importorskip("h5py")
  (copy / "cuhk03_release").mkdir()
  shutil.copy(miniature("cuhk03", "mat") / ARCHIVE, copy / ARCHIVE)
  shutil.copytree(miniature("cuhk03", "np") / "detected", copy / "detected")
  for chosen, variant in (
    ("auto", "images_detected"),
    ("images", "images_detected"),
    ("mat", "cuhk-03.mat"),
    ("np", "cuhk03-np"),
  ):
    found = list_items(copy, packaging=chosen)
    assert found.variant == f"detected, {variant}"
  shutil.rmtree(copy / "images_detected")
  assert list_items(copy).variant == "detected, cuhk-03.mat"
  (copy / ARCHIVE).rename(copy / "cuhk-03.mat")
  assert list_items(copy).variant == "detected, cuhk-03.mat"
  (copy / "cuhk-03.mat").unlink()
  assert list_items(copy).variant == "detected, cuhk03-np"
  with pytest.raises(UserError, match=r"no .*images_detected/, it has"):
    list_items(copy, packaging="images")


def test_missing_layout(tmp_path):
  (tmp_path / "pictures").mkdir()
  with pytest.raises(
    UserError,
    match=r"images_detected/ or cuhk03_release/cuhk-03.mat or "
    r"detected/bounding_box_train/, it has .*pictures",
  ):
    read(tmp_path)


def test_missing_and_unlisted_images(copy, as_published):
  folder = copy / "images_detected"
  (folder / "2_001_1_01.png").unlink()
  (folder / "5_001_2_10.png").touch()
  (folder / "copy of 5_001_2_10.png").touch()
  (folder / "notes.txt").touch()
  (folder / "._5_001_2_10.png").touch()
  with pytest.raises(
    UserError,
    match=r"1 missing: images_detected/2_001_1_01.png; 2 unknown: "
    r"images_detected/5_001_2_10.png, images_detected/copy of 5_001_2_10.png\.",
  ):
    read(copy)


def test_broken_lists(copy):
  lists = copy / "cuhk03_new_protocol_config_detected.mat"
  lists.write_bytes(b"no matlab file")
  with pytest.raises(UserError, match=r"config_detected.mat cannot be read"):
    read(copy, partial="allow")


@pytest.mark.parametrize("name", ["cuhk03", "cuhk03-np"])
def test_accepted_folder_names(root, tmp_path, name):
  shutil.copytree(root, tmp_path / name)
  assert list_items(tmp_path).root == str(tmp_path / name)


def test_nothing_is_written(root, files_below):
  before = files_below(root)
  read(root, partial="allow")
  assert files_below(root) == before


def test_full_size(tmp_path, monkeypatch):
  """All persons of the five pairs; 573 of the 14,670 cells are empty."""
  names = [
    f"{pair}_{pid:03d}_{1 if image < 6 else 2}_{image:02d}.png"
    for pair, persons in enumerate((843, 440, 77, 58, 49), 1)
    for pid in range(1, persons + 1)
    for image in range(1, 11 if (pair, pid) > (1, 573) else 10)
  ]
  (tmp_path / "images_detected").mkdir()
  monkeypatch.setattr(listing, "list_folder", lambda folder: (names, [], 0))
  dataset = read(tmp_path, use="all")
  assert dataset.provenance.notes == ()
  assert len(dataset.train) == 14097
  assert len({record.pid for record in dataset.train}) == 1467
