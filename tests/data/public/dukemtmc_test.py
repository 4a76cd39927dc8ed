from __future__ import annotations

import collections
import shutil

import pytest
from miniatures import dukemtmc as small
from miniatures import full_size

from metabin_jax.data.public import definition, dukemtmc, reading
from metabin_jax.data.public.dukemtmc import DUKEMTMC, GRAMMAR
from metabin_jax.errors import UserError

LICENSED = {"licensed_copy": "yes"}


@pytest.fixture
def root(miniature):
  return miniature("dukemtmc")


@pytest.fixture
def as_published(root, monkeypatch, counts_of):
  monkeypatch.setattr(dukemtmc, "EXPECTED", counts_of(DUKEMTMC, root))


def read(root, **options):
  return reading.read_public(
    DUKEMTMC, str(root), name="duke", options={**LICENSED, **options}
  )


def pids(records):
  return {record.pid.removeprefix("duke/") for record in records}


def test_grammar():
  found = GRAMMAR.fullmatch("7140_c8_f0199999.jpg")
  assert found is not None
  assert (found["pid"], found["cam"]) == ("7140", "8")


@pytest.mark.parametrize(
  "name",
  [
    "-1_c1_f0046182.jpg",
    "001_c2_f0046182.jpg",
    "0001_c9_f0046182.jpg",
    "0001_c0_f0046182.jpg",
    "0001_c2_f046182.jpg",
    "0001_c2_0046182.jpg",
    "0001_c2_f0046182.jpg.jpg",
    "0001_c2_f0046182.png",
  ],
)
def test_grammar_refuses(name):
  assert GRAMMAR.fullmatch(name) is None


def test_withdrawn_without_a_licensed_copy(root):
  with pytest.raises(UserError) as caught:
    reading.list_items(DUKEMTMC, str(root), {})
  message = str(caught.value)
  assert "withdrawn" in message
  assert "25 April 2019" in message
  assert "licensed_copy=yes (--i-have-a-licensed-copy)" in message
  assert "http" not in message


def test_every_result_says_that_it_was_withdrawn(root, as_published):
  assert read(root).provenance.notes == (DUKEMTMC.withdrawn,)
  assert DUKEMTMC.withdrawn.endswith(".")


def test_parts_and_cameras(root):
  found = reading.list_items(DUKEMTMC, str(root), LICENSED)
  assert definition.tally(found.items) == {
    "train": (42, 12),
    "query": (16, 8),
    "gallery": (30, 10),
  }
  assert (found.missing, found.unknown) == ((), ())
  assert found.items[0] == (
    str(root / "bounding_box_test" / "0003_c1_f0046060.jpg"),
    "bounding_box_test/0003_c1_f0046060.jpg",
    "0003",
    1,
    "gallery",
    "person",
  )
  assert {item.camid for item in found.items} == set(range(1, 9))


def test_uses(root, as_published):
  dataset = read(root)
  (fold,) = dataset.folds
  assert (len(dataset.train), len(fold.query), len(fold.gallery)) == (
    42,
    16,
    30,
  )
  only = {f"{pid:04d}" for pid in small.GALLERY_ONLY_PIDS}
  assert pids(fold.gallery) - pids(fold.query) == only
  everything = read(root, use="all")
  assert (len(everything.train), everything.folds) == (88, ())
  assert only < pids(everything.train)
  assert len(read(root, use="train").train) == 42


def test_counts_must_be_those_published(root):
  with pytest.raises(
    UserError,
    match=r"train: expected 16,522 images of 702 persons, found 42 images of "
    r"12 persons; query: expected 2,228 images of 702 .*; gallery: expected "
    r"17,661 images of 1,110 persons",
  ):
    read(root)
  assert len(read(root, partial="allow").provenance.notes) == 2


def test_name_that_does_not_fit_is_named(root, tmp_path, as_published):
  shutil.copytree(root, tmp_path / "d")
  (tmp_path / "d" / "query" / "-1_c1_f0046060.jpg").touch()
  with pytest.raises(UserError, match=r"1 unknown: query/-1_c1_f0046060.jpg\."):
    read(tmp_path / "d")


@pytest.mark.parametrize(
  "name", ["DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID", "dukemtmc"]
)
def test_accepted_folder_names(root, tmp_path, name):
  place = tmp_path.joinpath(*name.split("/"))
  shutil.copytree(root, place)
  found = reading.list_items(DUKEMTMC, str(tmp_path), LICENSED)
  assert found.root == str(place)


def test_nothing_is_written(root, files_below):
  before = files_below(root)
  read(root, partial="allow")
  assert files_below(root) == before


def test_full_size(tmp_path, monkeypatch):
  root = full_size.pretend(monkeypatch, tmp_path / "duke", full_size.dukemtmc())
  dataset = read(root)
  assert dataset.provenance.notes == (DUKEMTMC.withdrawn,)
  (fold,) = dataset.folds
  images = collections.Counter(r.pid for r in dataset.train).values()
  assert (len(dataset.train), len(images)) == (16522, 702)
  assert (min(images), max(images)) == (6, full_size.DUKE_MOST)
  pairs = collections.Counter((r.pid, r.camid) for r in dataset.train).values()
  assert (len(pairs), min(pairs)) == (2196, 2)
  assert (len(fold.query), len(pids(fold.query))) == (2228, 702)
  assert (len(fold.gallery), len(pids(fold.gallery))) == (17661, 1110)

  pool = read(root, use="all").train
  images = collections.Counter(r.pid for r in pool)
  assert (len(pool), len(images)) == (36411, 1812)
  assert sum(count < 4 for count in images.values()) == 26
  cameras = collections.defaultdict(set)
  for record in pool:
    cameras[record.pid].add(record.camid)
  assert sum(len(seen) == 1 for seen in cameras.values()) == 408
  assert max(pids(pool)) == "7140"
