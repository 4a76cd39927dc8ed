from __future__ import annotations

import os

import numpy as np
import pytest
from miniatures import ilids as small

from metabin_jax.data import splits
from metabin_jax.data.public import ilids, reading
from metabin_jax.data.public.definition import Count
from metabin_jax.errors import UserError

NUM_SMALL = sum(map(small.num_images, small.PIDS))
SMALL = {"images": Count(NUM_SMALL, 17)}
OURS = "74541f90dd558348e0062976182010ada798d0c3ab516e908c338f3918089233"
# Images of a person -> persons, as published.
SIZES = {2: 22, 3: 33, 4: 24, 5: 15, 6: 17, 7: 4, 8: 4}


def read(root, **options):
  return reading.read_public(
    ilids.ILIDS, str(root), name="ilids", options=options
  )


@pytest.fixture
def small_counts(monkeypatch):
  monkeypatch.setattr(ilids, "EXPECTED", SMALL)


def full_sizes() -> list[int]:
  """Images of each of the 119 persons; who has how many is made up."""
  sizes = [size for size, persons in SIZES.items() for _ in range(persons)]
  return [sizes[37 * place % len(sizes)] for place in range(len(sizes))]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
  """Empty files with the numbers of the full set."""
  root = tmp_path_factory.mktemp("full") / "QMUL-iLIDS"
  (root / "images").mkdir(parents=True)
  for pid, size in enumerate(full_sizes(), start=1):
    for index in range(1, size + 1):
      (root / "images" / f"{pid:04d}{index:03d}.jpg").touch()
  return root


def bases(records) -> list[str]:
  return [os.path.basename(record.path) for record in records]


def pids(records) -> list[int]:
  return [int(record.pid.removeprefix("ilids/")) for record in records]


def test_grammar():
  assert ilids.NAME.fullmatch("0001001.jpg")
  for name in ("000101.jpg", "00010011.jpg", "0001001.png", "0001_001.jpg"):
    assert not ilids.NAME.fullmatch(name)


def test_full_set(full, counts_of):
  assert counts_of(ilids.ILIDS, full) == ilids.EXPECTED
  dataset = read(full)
  assert [fold.name for fold in dataset.folds] == [str(n) for n in range(1, 11)]
  for fold in dataset.folds:
    assert (len(fold.query), len(fold.gallery)) == (60, 60)
    assert pids(fold.query) == pids(fold.gallery) == sorted({*pids(fold.query)})
    pairs = zip(fold.query, fold.gallery, strict=True)
    assert all(query.camid != answer.camid for query, answer in pairs)
  assert len({fold.query for fold in dataset.folds}) == 10
  # The images of a person are drawn anew in each fold.
  queries = [record for fold in dataset.folds for record in fold.query]
  assert len({*bases(queries)}) > len({*pids(queries)})
  # Ours, which must never change.
  assert splits.split_digest(dataset) == OURS


def test_full_dualnorm(full):
  dataset = read(full, protocol="dualnorm")
  state = np.random.RandomState(5)
  pairs = []
  for pid, size in enumerate(full_sizes(), start=1):
    order = np.argsort(state.rand(size)) + 1
    pairs.append([f"{pid:04d}{index:03d}.jpg" for index in order[:2]])
  assert len(dataset.folds) == 10
  for fold in dataset.folds:
    test = sorted(np.argsort(state.rand(119))[59:])
    assert bases(fold.query) == [pairs[person][0] for person in test]
    assert bases(fold.gallery) == [pairs[person][1] for person in test]
  assert "rng(5)" in dataset.provenance.origin


def test_miniature(miniature, counts_of, small_counts, files_below):
  root = miniature("ilids")
  before = files_below(root)
  assert counts_of(ilids.ILIDS, root) == SMALL
  dataset = read(root)
  assert dataset.provenance.notes == ()
  assert "not the authors'" in dataset.provenance.origin
  for fold in dataset.folds:
    assert len(fold.query) == len(fold.gallery) == 9
    # The running number of the image stands for the camera.
    assert [r.camid for r in fold.query] == [
      int(b[4:7]) for b in bases(fold.query)
    ]
  assert len({fold.query for fold in dataset.folds}) == 10
  assert files_below(root) == before


def test_all_is_training_data(miniature, small_counts):
  dataset = read(miniature("ilids"), use="all")
  assert len(dataset.train) == NUM_SMALL
  assert dataset.folds == ()


def test_names_of_the_authors_archive(miniature, small_counts):
  dataset = read(miniature("ilids", "persons"))
  other = read(miniature("ilids"))
  assert splits.split_digest(dataset) == splits.split_digest(other)
  assert "/Persons/" in dataset.folds[0].query[0].path


def test_both_names_are_refused(touch):
  root = touch("images/0001001.jpg", "Persons/0001001.jpg")
  with pytest.raises(
    UserError, match=r"folders images and Persons, and either"
  ):
    read(root, partial="allow")


def test_wrong_counts(miniature, touch):
  with pytest.raises(UserError, match="images: expected 476 images of 119"):
    read(miniature("ilids"))
  dataset = read(
    touch("images/0001001.jpg", "images/0001002.jpg", "images/x.jpg"),
    partial="allow",
  )
  (note,) = dataset.provenance.notes
  assert note.startswith("ilids is partial: images: expected 476 images")
  assert note.endswith("1 unknown: images/x.jpg")


def test_person_with_one_image_is_not_drawn(touch):
  names = [f"images/{p:04d}{n:03d}.jpg" for p in (1, 2, 3, 4) for n in (1, 2)]
  root = touch(*names, "images/0000001.jpg", "images/0005001.jpg")
  for protocol in ("metabin", "dualnorm"):
    dataset = read(root, partial="allow", protocol=protocol)
    for fold in dataset.folds:
      assert len(fold.query) == 2
      assert set(pids(fold.query)) < {1, 2, 3, 4}


@pytest.mark.parametrize(
  "name", ["QMUL-iLIDS/images", "ilids/i-LIDS_Pedestrian/Persons"]
)
def test_accepted_roots(touch, name):
  parent = touch(f"{name}/0001001.jpg")
  assert len(read(parent, use="all", partial="allow").train) == 1


def test_missing_layout(touch):
  with pytest.raises(
    UserError, match=r"no folder images or Persons, it has the folders pictures"
  ):
    read(touch("pictures/0001001.jpg"), partial="allow")


@pytest.mark.parametrize("at_root", [True, False])
def test_list_of_the_authors(miniature, small_counts, at_root):
  theirs = miniature("ilids", "list")
  if at_root:
    dataset = read(theirs)
  else:
    persons = miniature("ilids", "persons")
    dataset = read(persons, splits=str(theirs / "splits.json"))
  assert dataset.provenance.origin == "MetaBIN's file splits.json"
  assert len(dataset.folds) == 10
  for number, fold in enumerate(dataset.folds):
    tested = small.tested(number)
    assert bases(fold.query) == [f"{pid:04d}002.jpg" for pid in tested]
    assert bases(fold.gallery) == [f"{pid:04d}001.jpg" for pid in tested]


def test_list_of_the_authors_is_not_dualnorm(miniature, small_counts):
  theirs = miniature("ilids", "list")
  assert "rng(5)" in read(theirs, protocol="dualnorm").provenance.origin
  with pytest.raises(UserError, match="lists of protocol metabin"):
    read(theirs, protocol="dualnorm", splits=str(theirs))
