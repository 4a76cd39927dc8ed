from __future__ import annotations

import collections
import shutil

import pytest
from miniatures import full_size
from miniatures import market1501 as small

from metabin_jax.data.public import definition, market1501, reading
from metabin_jax.data.public.market1501 import GRAMMAR, MARKET1501
from metabin_jax.errors import UserError


@pytest.fixture
def root(miniature):
  return miniature("market1501")


@pytest.fixture
def as_published(root, monkeypatch, counts_of):
  """The miniature's numbers are those of the published set."""
  monkeypatch.setattr(market1501, "EXPECTED", counts_of(MARKET1501, root))


def read(root, **options):
  return reading.read_public(
    MARKET1501, str(root), name="market1501", options=options
  )


def pids(records):
  return {record.pid.removeprefix("market1501/") for record in records}


@pytest.mark.parametrize(
  ("name", "pid", "camera"),
  [
    ("0002_c1s1_000451_03.jpg", "0002", "1"),
    ("1501_c6s6_132668_12.jpg", "1501", "6"),
    ("-1_c3s2_077419_03.jpg", "-1", "3"),
    ("0000_c4s5_000151_01.jpg", "0000", "4"),
    ("1206_c3s3_015567_02.jpg.jpg", "1206", "3"),
  ],
)
def test_grammar_accepts(name, pid, camera):
  found = GRAMMAR.fullmatch(name)
  assert found is not None
  assert (found["pid"], found["cam"]) == (pid, camera)


@pytest.mark.parametrize(
  "name",
  [
    "002_c1s1_000451_03.jpg",
    "-2_c1s1_000451_03.jpg",
    "0002_c7s1_000451_03.jpg",
    "0002_c0s1_000451_03.jpg",
    "0002_c1s7_000451_03.jpg",
    "0002_c1s1_00451_03.jpg",
    "0002_c1s1_000451_3.jpg",
    "0002_c1s1_000451_03.png",
    "0002_c1s1_000451_03.jpg.jpg.jpg",
    "0002_c1s1_000451_03_jpg",
    "x0002_c1s1_000451_03.jpg",
    "0002_c1s1_000451_03.jpg\n",
  ],
)
def test_grammar_refuses(name):
  assert GRAMMAR.fullmatch(name) is None


def test_parts_roles_and_cameras(root):
  found = reading.list_items(MARKET1501, str(root), {})
  assert definition.tally(found.items) == {
    "train": (42, 12),
    "query": (16, 8),
    "gallery": (24, 8),
    "gallery distractor": (small.NUM_DISTRACTORS, 1),
    "gallery junk": (small.NUM_JUNK, 1),
  }
  # Thumbs.db, hidden files and gt_bbox/ are neither items nor unknown.
  assert (found.missing, found.unknown) == ((), ())
  item = found.items[-1]
  assert item.name == "query/0017_c3s1_000100_00.jpg"
  assert item.path == str(root / item.name)
  assert item[2:] == ("0017", 3, "query", "person")
  assert {item.camid for item in found.items} == set(range(1, 7))


def test_standard_use(root, as_published):
  dataset = read(root)
  assert pids(dataset.train) == {f"{pid:04d}" for pid in small.TRAIN_PIDS}
  (fold,) = dataset.folds
  assert pids(fold.query) == {f"{pid:04d}" for pid in small.TEST_PIDS}
  assert pids(fold.gallery) == pids(fold.query) | {"0000"}
  assert (len(fold.query), len(fold.gallery)) == (16, 26)
  assert dataset.provenance.notes == ()
  assert dataset.provenance.protocol == "standard"


def test_all_images_of_persons_as_training_data(root, as_published):
  dataset = read(root, use="all")
  assert len(dataset.train) == 42 + 16 + 24
  assert not {"-1", "0000"} & pids(dataset.train)
  assert dataset.folds == ()


def test_train_part_alone(root, as_published):
  dataset = read(root, use="train")
  assert len(dataset.train) == 42
  assert dataset.folds == ()


def test_counts_must_be_those_published(root):
  with pytest.raises(UserError) as caught:
    read(root)
  message = str(caught.value)
  for part in (
    "train: expected 12,936 images of 751 persons, found 42 images of 12",
    "query: expected 3,368 images of 750 persons, found 16 images of 8",
    "gallery: expected 13,115 images of 750 persons, found 24 images of 8",
    "gallery distractor: expected 2,798 images",
    "gallery junk: expected 3,819 images",
    "partial=allow",
  ):
    assert part in message


def test_partial_data_are_read_and_noted(root):
  dataset = read(root, partial="allow")
  assert len(dataset.train) == 42
  (note,) = dataset.provenance.notes
  assert note.startswith("market1501 is partial: train: expected 12,936")


def test_name_that_does_not_fit_is_named(root, tmp_path, as_published):
  shutil.copytree(root, tmp_path / "m")
  (tmp_path / "m" / "query" / "0003_c9s1_000100_00.jpg").touch()
  with pytest.raises(
    UserError,
    match=r"all counts as published; 1 unknown: query/0003_c9s1_000100_00.jpg",
  ):
    read(tmp_path / "m")


@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
def test_missing_folder(root, tmp_path, folder):
  shutil.copytree(root, tmp_path / "m")
  shutil.rmtree(tmp_path / "m" / folder)
  with pytest.raises(
    UserError,
    match=f"m has no folder {folder}, it has .*bounding_box_test.*want bound",
  ):
    read(tmp_path / "m", partial="allow")


@pytest.mark.parametrize(
  "name",
  ["Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15", "market1501"],
)
def test_accepted_folder_names(root, tmp_path, name):
  place = tmp_path.joinpath(*name.split("/"))
  shutil.copytree(root, place)
  found = reading.list_items(MARKET1501, str(tmp_path), {})
  assert found.root == str(place)


def test_nothing_is_written(root, files_below):
  before = files_below(root)
  read(root, partial="allow")
  assert files_below(root) == before


def test_full_size(tmp_path, monkeypatch):
  root = full_size.pretend(
    monkeypatch, tmp_path / "market1501", full_size.market1501()
  )
  dataset = read(root)
  assert dataset.provenance.notes == ()
  (fold,) = dataset.folds
  assert (len(dataset.train), len(pids(dataset.train))) == (12936, 751)
  assert (len(fold.query), len(pids(fold.query))) == (3368, 750)
  assert (len(fold.gallery), len(pids(fold.gallery))) == (15913, 751)

  cameras = collections.Counter(r.camid for r in dataset.train)
  assert [cameras[camera] for camera in range(1, 7)] == [
    *full_size.MARKET_TRAIN_IMAGES
  ]
  images = collections.Counter(r.pid for r in dataset.train).values()
  assert (min(images), max(images)) == (2, 72)
  assert sum(count < 4 for count in images) == 15
  pairs = collections.Counter((r.pid, r.camid) for r in dataset.train).values()
  assert len(pairs) == 3262
  assert sum(count == 1 for count in pairs) == 411
  assert sum(count < 4 for count in pairs) == 1787
  twice = [r for r in fold.query + fold.gallery if ".jpg.jpg" in r.path]
  assert len(twice) == 6 + 18

  pool = read(root, use="all").train
  assert (len(pool), len(pids(pool))) == (29419, 1501)
  assert len({(r.pid, r.camid) for r in pool}) == 6630
