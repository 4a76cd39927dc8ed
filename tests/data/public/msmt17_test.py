from __future__ import annotations

import collections
import shutil

import pytest

from metabin_jax.data import listing
from metabin_jax.data.public import counts, definition, msmt17, reading
from metabin_jax.data.public.msmt17 import GRAMMAR, MSMT17, REPACK_GRAMMAR
from metabin_jax.errors import UserError


@pytest.fixture
def root(miniature):
  return miniature("msmt17")


@pytest.fixture
def as_published(root, monkeypatch, counts_of):
  monkeypatch.setattr(msmt17, "EXPECTED", counts_of(MSMT17, root))


@pytest.fixture
def copy(root, tmp_path):
  return shutil.copytree(root, tmp_path / "MSMT17_V1")


def read(root, **options):
  return reading.read_public(MSMT17, str(root), name="msmt17", options=options)


def pids(records):
  return {record.pid for record in records}


@pytest.mark.parametrize(
  ("name", "camera"),
  [
    ("0000_000_01_0303morning_0015_0.jpg", "01"),
    ("4100_112_15_0114afternoon_0398_0_ex.jpg", "15"),
  ],
)
def test_grammar_accepts(name, camera):
  found = GRAMMAR.fullmatch(name)
  assert found is not None
  assert found["cam"] == camera


@pytest.mark.parametrize(
  "name",
  [
    "0000_000_00_0303morning_0015_0.jpg",
    "0000_000_16_0303morning_0015_0.jpg",
    "0000_000_1_0303morning_0015_0.jpg",
    "000_000_01_0303morning_0015_0.jpg",
    "0000_000_01_0303morning_0015_0.png",
    "0000_c1_0000.jpg",
  ],
)
def test_grammar_refuses(name):
  assert GRAMMAR.fullmatch(name) is None


@pytest.mark.parametrize(
  ("name", "camera"),
  [
    ("0000_c1_0000.jpg", 1),
    ("0000_c15_0030.jpg", 15),
    ("0000_000_07_0303morning_0015_0.jpg", 7),
    ("0000_c16_0000.jpg", None),
    ("0000_c0_0000.jpg", None),
    ("0000_000_16_0303morning_0015_0.jpg", None),
    ("0000_c1.jpg", None),
    ("-0001_c1_0000.jpg", None),
    ("-0001_000_07_0303morning_0015_0.jpg", None),
  ],
)
def test_names_of_the_repack(name, camera):
  found = REPACK_GRAMMAR.fullmatch(name)
  read_camera = found and int(found["cam"] or found["own_cam"])
  assert read_camera == camera


def test_lists_make_the_parts(root):
  found = reading.list_items(MSMT17, str(root), {})
  assert found.variant == "v1"
  assert definition.tally(found.items) == {
    "query": (16, 8),
    "gallery": (20, 8),
    "train": (28, 8),
  }
  assert (found.missing, found.unknown) == ((), ())
  name = "test/0000/0000_001_04_0303morning_0015_0.jpg"
  (item,) = [item for item in found.items if item.name == name]
  assert item == (str(root / name), name, "test_0000", 4, "query", "person")
  assert {item.camid for item in found.items} == {1, 4, 9, 15}


def test_persons_of_both_parts_are_kept_apart(root, as_published):
  everything = read(root, use="all")
  assert len(everything.train) == 64
  assert pids(everything.train) == {
    f"msmt17/{prefix}{pid:04d}" for prefix in ("", "test_") for pid in range(8)
  }
  dataset = read(root)
  (fold,) = dataset.folds
  assert pids(fold.query) == pids(fold.gallery)
  assert not pids(fold.query) & pids(dataset.train)
  # Person 0000 is no distractor here.
  assert "msmt17/0000" in pids(dataset.train)


def test_images_of_list_val(root, as_published, monkeypatch):
  assert len(read(root, use="train").train) == 28
  train_alone = definition.Count(25, 8)
  monkeypatch.setattr(msmt17, "EXPECTED_LIST_TRAIN", train_alone)
  monkeypatch.setattr(msmt17, "EXPECTED_LIST_VAL_IMAGES", 3)
  without = read(root, val="no", use="train")
  assert len(without.train) == 25
  assert len(read(root, val="no").train) == 25
  assert len(read(root, val="no", use="all").train) == 64
  monkeypatch.setattr(msmt17, "EXPECTED_LIST_VAL_IMAGES", 4)
  with pytest.raises(UserError, match=r"published data set: val: expected 4 "):
    read(root, val="no")


def test_published_numbers_of_both_train_parts(root):
  with pytest.raises(UserError, match=r"train: expected 32,621 .* of 1,041"):
    read(root)
  with pytest.raises(
    UserError, match=r"train: expected 30,248 .* of 1,041.*val: expected 2,373"
  ):
    read(root, val="no")
  (note,) = read(root, partial="allow").provenance.notes
  assert note.startswith("msmt17 (v1) is partial: train: expected 32,621")


def test_blurred_version(miniature, as_published):
  root = miniature("msmt17", "v2")
  dataset = read(root)
  assert dataset.provenance.variant == "v2"
  assert len(dataset.train) == 28
  assert all("mask_train_v2" in record.path for record in dataset.train)


def test_repack(miniature, root, as_published):
  repack = read(miniature("msmt17", "repack"))
  assert repack.provenance.variant == "repack"
  lists = read(root)

  def labels(records):
    return sorted((record.pid, record.camid) for record in records)

  assert labels(repack.train) == labels(lists.train)
  for part in ("query", "gallery"):
    found = getattr(repack.folds[0], part)
    assert labels(found) == labels(getattr(lists.folds[0], part))
  with pytest.raises(UserError, match=r"train: expected 30,248"):
    read(miniature("msmt17", "repack"), val="no")


def test_repack_under_the_names_of_the_authors(root, tmp_path, as_published):
  for folder, part in (("train", "bounding_box_train"), ("test", "query")):
    place = tmp_path / part
    place.mkdir()
    for path in (root / folder).rglob("*.jpg"):
      shutil.copy(path, place)
  (tmp_path / "bounding_box_test").mkdir()
  found = reading.list_items(MSMT17, str(tmp_path), {})
  assert definition.tally(found.items) == {"train": (28, 8), "query": (36, 8)}
  assert {item.camid for item in found.items} == {1, 4, 9, 15}
  assert found.unknown == ()


@pytest.mark.parametrize("part", ["train", "test"])
def test_listed_file_that_is_missing(copy, as_published, part):
  gone = sorted((copy / part / "0002").iterdir())[0]
  gone.unlink()
  with pytest.raises(
    UserError, match=f"; 1 missing: {part}/0002/{gone.name}.*Complete"
  ):
    read(copy)
  assert read(copy, partial="allow")


def test_image_on_no_list(copy, as_published):
  (copy / "test" / "0001" / "0001_009_01_0303morning_0015_0.jpg").touch()
  (copy / "test" / "0001" / "._x.jpg").touch()
  (copy / "test" / "Thumbs.db").touch()
  with pytest.raises(
    UserError, match=r"; 1 unknown: test/0001/0001_009_01_0303morning_0015_0"
  ):
    read(copy)


def test_listed_name_that_does_not_fit(copy, as_published):
  (copy / "train" / "0000" / "0000_7.jpg").touch()
  with open(copy / "list_train.txt", "a") as lines:
    lines.write("0000/0000_7.jpg 0\n\n")
  with pytest.raises(UserError, match=r"; 1 unknown: train/0000/0000_7.jpg\."):
    read(copy)


@pytest.mark.parametrize(
  "line", ["0000/0000_000_01_x.jpg", "a.jpg zero", "a b.jpg 0"]
)
def test_wrong_line(copy, line):
  with open(copy / "list_val.txt", "a") as lines:
    lines.write(f"{line}\n")
  with pytest.raises(
    UserError, match=rf"line 4 of .*list_val.txt is '{line}'; want a file"
  ):
    read(copy, partial="allow")


def test_image_on_two_lists(copy):
  with open(copy / "list_val.txt", "a") as lines:
    lines.write((copy / "list_train.txt").read_text().splitlines()[0])
  with pytest.raises(
    UserError, match=r"0000/0000_000_01_.* is listed twice, .*list_val.txt"
  ):
    read(copy, partial="allow")


def test_missing_lists(copy, as_published):
  (copy / "list_val.txt").unlink()
  with pytest.raises(UserError, match=r"1 missing: list_val.txt; 3 unknown"):
    read(copy)
  assert len(read(copy, partial="allow").train) == 25
  for list_file in copy.glob("list_*.txt"):
    list_file.unlink()
  with pytest.raises(
    UserError, match=r"no folder list_train.txt|no list_train"
  ):
    read(copy, partial="allow")


def test_missing_folders(copy, tmp_path):
  shutil.rmtree(copy / "test")
  with pytest.raises(
    UserError, match=r"MSMT17_V1 has no .*train or test or mask_train_v2"
  ):
    read(copy, partial="allow")


def test_two_packagings_in_one_folder(copy):
  (copy / "query").mkdir()
  with pytest.raises(UserError, match=r"several packagings .*\(v1, repack\)"):
    read(copy, partial="allow")


@pytest.mark.parametrize("parent", ["", "msmt17"])
def test_accepted_folder_names(root, tmp_path, parent):
  shutil.copytree(root, tmp_path / parent / "MSMT17_V1")
  found = reading.list_items(MSMT17, str(tmp_path / parent), {})
  assert found.root == str(tmp_path / parent / "MSMT17_V1")


def test_nothing_is_written(root, files_below):
  before = files_below(root)
  read(root, partial="allow")
  assert files_below(root) == before


def test_full_size(tmp_path, monkeypatch):
  """Lists of 126,441 images; the folders are pretended."""
  inside = collections.defaultdict(list)
  folders = collections.defaultdict(set)

  def write_list(name, below, pids, images, first):
    lines = []
    place = str(tmp_path / below)
    folders[place] |= {f"{pid:04d}" for pid in range(pids)}
    for number in range(images):
      pid = number % pids
      index = first + number // pids
      camera = 1 + number % 15
      file = f"{pid:04d}_{index:03d}_{camera:02d}_0303morning_0015_0.jpg"
      lines.append(f"{pid:04d}/{file} {pid}\n")
      inside[f"{place}/{pid:04d}"].append(file)
    (tmp_path / f"list_{name}.txt").write_text("".join(lines))

  write_list("train", "train", 1041, 30248, 0)
  write_list("val", "train", 1041, 2373, 30)
  write_list("query", "test", 3060, 11659, 0)
  write_list("gallery", "test", 3060, 82161, 4)
  monkeypatch.setattr(
    listing,
    "list_folder",
    lambda folder: (inside[folder], sorted(folders[folder]), 0),
  )
  for part in ("train", "test"):
    (tmp_path / part).mkdir()

  found = reading.list_items(MSMT17, str(tmp_path), {})
  assert counts.check_counts(MSMT17, found, allow_partial=False) == ()
  assert definition.tally(found.items) == {
    "train": (32621, 1041),
    "query": (11659, 3060),
    "gallery": (82161, 3060),
  }
  assert len(found.items) == 126441
  assert len({item.pid for item in found.items}) == 4101
  assert {item.camid for item in found.items} == set(range(1, 16))
