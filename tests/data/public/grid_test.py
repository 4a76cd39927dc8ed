from __future__ import annotations

import pathlib

import numpy as np
import pytest
from miniatures import grid as small
from scipy import io

from metabin_jax.data.public import grid, reading
from metabin_jax.data.public.definition import Count
from metabin_jax.errors import UserError

SMALL = {
  "gallery": Count(16, 16),
  "gallery distractor": Count(6, 1),
  "probe": Count(16, 16),
}


def read(root, **options):
  return reading.read_public(grid.GRID, str(root), name="grid", options=options)


@pytest.fixture
def small_counts(monkeypatch):
  monkeypatch.setattr(grid, "EXPECTED", SMALL)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
  """Empty files with the numbers of the full set, and partitions."""
  root = tmp_path_factory.mktemp("full") / "GRID"
  for part, camera in (("probe", 1), ("gallery", 2)):
    (root / part).mkdir(parents=True)
    for pid in range(1, 251):
      (root / part / f"{pid:04d}_{camera}_25004_1_2_3_4.jpeg").touch()
  for number in range(775):
    (root / "gallery" / f"0000_{1 + number % 6}_{number}_1_2_3_4.jpeg").touch()
  cells = np.empty((1, 10), dtype=object)
  for fold, train in enumerate(full_partitions()):
    # As MATLAB keeps numbers that are not told to be whole: doubles.
    row = train[None].astype(float)
    cells[0, fold] = {"a": 2 * row, "b": 2 * row - 1, "c": row}
  io.savemat(root / "features_and_partitions.mat", {"trainIdxAll": cells})
  return root


def full_partitions():
  random = np.random.default_rng(3)
  return [1 + random.permutation(250)[:125] for _ in range(10)]


def numbers(records) -> list[int]:
  return [int(record.pid.removeprefix("grid/")) for record in records]


@pytest.mark.parametrize(
  "name", ["0001_1_25004_107_32_106_221.jpeg", "0000_6_1.jpeg"]
)
def test_accepted_names(name):
  assert grid.NAME.fullmatch(name)


@pytest.mark.parametrize(
  "name",
  ["001_1_25004.jpeg", "0001_1_25004.jpg", "0001_12_25004.jpeg", "0001.jpeg"],
)
def test_refused_names(name):
  assert not grid.NAME.fullmatch(name)


def test_full_set(full, counts_of):
  assert counts_of(grid.GRID, full) == grid.EXPECTED
  dataset = read(full)
  assert dataset.provenance.protocol == "metabin"
  origin = "the data set's own features_and_partitions.mat"
  assert dataset.provenance.origin == origin
  assert dataset.provenance.notes == ()
  partitions = full_partitions()
  assert [fold.name for fold in dataset.folds] == [str(n) for n in range(1, 11)]
  for fold, train in zip(dataset.folds, partitions, strict=True):
    assert (len(fold.query), len(fold.gallery)) == (125, 900)
    tested = sorted(set(range(1, 251)) - set(train.tolist()))
    assert numbers(fold.query) == tested
    assert numbers(fold.gallery) == [*tested, *[0] * 775]
    assert all("/probe/" in record.path for record in fold.query)
    assert all("/gallery/" in record.path for record in fold.gallery)


def test_full_dualnorm(full):
  dataset = read(full, protocol="dualnorm")
  state = np.random.RandomState(5)
  assert len(dataset.folds) == 10
  for fold in dataset.folds:
    tested = sorted(np.argsort(state.rand(250))[125:] + 1)
    assert numbers(fold.query) == tested
    assert numbers(fold.gallery) == [*tested, *[0] * 775]
    assert all("/probe/" in record.path for record in fold.query)
  assert "rng(5)" in dataset.provenance.origin


def test_miniature(miniature, counts_of, small_counts, files_below):
  root = miniature("grid")
  before = files_below(root)
  assert counts_of(grid.GRID, root) == SMALL
  dataset = read(root)
  assert len(dataset.folds) == 10
  for number, fold in enumerate(dataset.folds):
    train = set(small.trained(number))
    tested = [pid for pid in small.PIDS if pid not in train]
    assert numbers(fold.query) == tested
    assert numbers(fold.gallery) == [*tested, *[0] * 6]
  assert {record.camid for record in dataset.folds[0].gallery} == set(
    range(1, 7)
  )
  assert files_below(root) == before


def test_all_leaves_distractors_out(miniature, small_counts):
  dataset = read(miniature("grid", "bare"), use="all")
  assert dataset.folds == ()
  assert sorted(numbers(dataset.train)) == sorted([*small.PIDS] * 2)


def test_wrong_counts(miniature):
  with pytest.raises(
    UserError, match="gallery distractor: expected 775 images of 1 person,"
  ):
    read(miniature("grid"))
  (note,) = read(miniature("grid"), partial="allow").provenance.notes
  assert "probe: expected 250 images of 250 persons, found 16" in note


def test_names_in_the_message(touch):
  root = touch(
    "probe/0001_1_2.jpeg",
    "probe/0003_1_2.jpeg",
    "gallery/0001_2_2.jpeg",
    "gallery/0002_2_2.jpeg",
    "gallery/0000_2_2.jpeg",
    "gallery/two.jpeg",
  )
  with pytest.raises(UserError, match="is not the published") as error:
    read(root)
  assert "2 missing: probe/0002_*.jpeg, gallery/0003_*.jpeg" in str(error.value)
  assert "1 unknown: gallery/two.jpeg" in str(error.value)


@pytest.mark.parametrize(
  "name", ["GRID", "grid/underground_reid", "underground_reid"]
)
def test_accepted_roots(touch, name):
  parent = touch(f"{name}/probe/0001_1_2.jpeg", f"{name}/gallery/0001_2_2.jpeg")
  assert len(read(parent, use="all", partial="allow").train) == 2


def test_missing_layout(touch):
  with pytest.raises(
    UserError, match=r"no folder gallery, it has the folders pr"
  ):
    read(touch("probe/0001_1_2.jpeg"), partial="allow")


def test_missing_partitions(miniature, small_counts):
  root = miniature("grid", "bare")
  with pytest.raises(
    UserError,
    match=r"features_and_partitions.mat, which is in the data set's own",
  ):
    read(root)
  assert len(read(root, protocol="dualnorm").folds) == 10


@pytest.mark.parametrize("variant", ["", "list"])
def test_list_of_another_folder(miniature, small_counts, variant):
  name = {"": "features_and_partitions.mat", "list": "splits.json"}[variant]
  given = miniature("grid", variant) / name
  bare = miniature("grid", "bare")
  want = read(miniature("grid")).folds
  dataset = read(bare, splits=str(given))
  assert name in dataset.provenance.origin
  for fold, other in zip(dataset.folds, want, strict=True):
    assert numbers(fold.query) == numbers(other.query)
    assert sorted(numbers(fold.gallery)) == sorted(numbers(other.gallery))
    assert all(record.path.startswith(str(bare)) for record in fold.query)


def test_list_of_metabin_in_the_root(miniature, small_counts):
  dataset = read(miniature("grid", "list"))
  assert dataset.provenance.origin == "MetaBIN's file splits.json"
  assert len(dataset.folds) == 10
  assert len(dataset.folds[0].gallery) == 8 + 6


@pytest.mark.parametrize("variant", ["", "list"])
def test_partitions_are_not_dualnorm(miniature, small_counts, variant):
  root = miniature("grid", variant)
  with pytest.raises(UserError, match="lists of protocol metabin"):
    read(root, protocol="dualnorm", splits=str(root))


def save(path, **variables):
  io.savemat(path, variables)
  return str(path)


def cells(*persons):
  row = np.empty((1, len(persons)), dtype=object)
  for place, train in enumerate(persons):
    row[0, place] = {"a": 0, "b": 0, "c": np.array([train])}
  return row


@pytest.mark.parametrize(
  "variables",
  [
    {"other": np.zeros(3)},
    {"trainIdxAll": np.zeros((1, 10))},
    {"trainIdxAll": cells([])},
    {"trainIdxAll": cells(["one"])},
  ],
)
def test_partitions_of_another_form(
  miniature, small_counts, tmp_path, variables
):
  path = save(tmp_path / "mine.mat", **variables)
  with pytest.raises(UserError, match=r"mine.mat are not of the expected form"):
    read(miniature("grid"), splits=path)


def test_file_that_is_no_mat_file(miniature, small_counts, tmp_path):
  path = pathlib.Path(tmp_path, "mine.mat")
  path.write_bytes(b"not MATLAB" * 30)
  with pytest.raises(UserError, match=r"mine.mat are not of the expected form"):
    read(miniature("grid"), splits=str(path))


def test_partition_without_test_persons(miniature, small_counts, tmp_path):
  path = save(tmp_path / "mine.mat", trainIdxAll=cells([1], [*small.PIDS]))
  with pytest.raises(UserError, match=r"partition 2 of .* leaves nobody of"):
    read(miniature("grid"), splits=path)
