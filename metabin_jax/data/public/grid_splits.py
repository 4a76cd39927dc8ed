"""Split lists of GRID."""

from __future__ import annotations

import os

from metabin_jax.data.public import selection, split_files
from metabin_jax.data.public.definition import (
  DISTRACTOR,
  FoldNames,
  Listing,
  Splits,
)
from metabin_jax.data.public.matlab_random import MatlabRandom
from metabin_jax.data.public.split_files import DUALNORM, METABIN
from metabin_jax.errors import UserError

PARTITIONS = "features_and_partitions.mat"

_NUM_FOLDS = 10
_DUALNORM_SEED = 5
_WANT = "the data set's own file with the variable trainIdxAll"


def make_splits(listing: Listing, protocol: str, place: str) -> Splits:
  """Makes or reads the splits.

  Half of the persons is tested. Their probe images ask; their gallery images
  and all distractors answer: 125 queries, 900 gallery images.

  metabin: the ten partitions that come with the data set, in
  features_and_partitions.mat; of each the training persons are left out. The
  file splits.json that MetaBIN's loader writes from it will do too.

  dualnorm: MATLAB's rng(5), ten times randperm(250), second half; the data
  set's own partitions are not used. Not compared with the authors' lists.

  Args:
    listing: from `grid.list_items`.
    protocol: "metabin" or "dualnorm".
    place: one of the files, or a saved one; "" looks in the root.

  Raises:
    UserError: for metabin, if there is no file, or if it is of another form.

  Source: MetaBIN fastreid/data/datasets/DG_grid.py; DualNorm
    evaluate/GRID_demo.m.
  """
  names = (PARTITIONS, "splits.json") if place or protocol == METABIN else ()
  path = split_files.find(place, listing.root, names)
  if path.endswith(".mat"):
    split_files.refuse_protocol(protocol, path)
    origin = f"the data set's own {os.path.basename(path)}"
    return Splits(METABIN, origin, _partitions(path, listing))
  if path:
    data = split_files.read_json(path)
    if split_files.is_saved(data):
      return split_files.read_saved(data, path, listing, "grid")
    split_files.refuse_protocol(protocol, path)
    folds = split_files.read_named(data, path, listing)
    return Splits(METABIN, f"MetaBIN's file {os.path.basename(path)}", folds)
  if protocol == METABIN:
    raise UserError(
      f"protocol {METABIN} of grid needs {PARTITIONS}, which is in the data "
      f"set's own archive and not in {listing.root}; copy it there, name it by "
      f"splits=FILE, or take protocol={DUALNORM}, which is drawn."
    )
  persons = selection.common_persons(listing.items, "probe", "gallery")
  matlab = MatlabRandom(_DUALNORM_SEED)
  tests = []
  for _ in range(_NUM_FOLDS):
    order = matlab.randperm(len(persons))
    tests.append([persons[place] for place in order[len(persons) // 2 :]])
  origin = split_files.drawn_as_in_matlab(_DUALNORM_SEED)
  return Splits(DUALNORM, origin, _folds(listing, tests))


def _partitions(path: str, listing: Listing) -> tuple[FoldNames, ...]:
  persons = selection.common_persons(listing.items, "probe", "gallery")
  tests = []
  for number, train in enumerate(read_partitions(path), start=1):
    test = [pid for pid in persons if int(pid) not in train]
    if not test:
      raise UserError(
        f"partition {number} of {path} leaves nobody of {listing.root} to "
        "test; take the file that came with these images."
      )
    tests.append(test)
  return _folds(listing, tests)


def read_partitions(path: str) -> list[set[int]]:
  """Reads the training persons of each partition.

  Args:
    path: features_and_partitions.mat; `trainIdxAll` is a row of cells, each a
      structure whose third field lists persons.

  Returns:
    Person numbers as in the file names, one set for each partition.

  Raises:
    UserError: if it is no such file.
  """
  from scipy import io

  try:
    cells = io.loadmat(path, variable_names=["trainIdxAll"])["trainIdxAll"][0]
    lists = [cell[0][0][2].ravel().tolist() for cell in cells]
    trains = [set(map(int, numbers)) for numbers in lists]
  # A broken file makes the reader fail in many ways.
  except Exception as error:
    raise split_files.unfit(path, _WANT) from error
  if not all(trains) or not trains:
    raise split_files.unfit(path, _WANT)
  return trains


def _folds(listing: Listing, tests: list[list[str]]) -> tuple[FoldNames, ...]:
  distractors = tuple(
    item.name
    for item in listing.items
    if item.role == DISTRACTOR and item.part == "gallery"
  )
  return tuple(
    FoldNames(
      str(number),
      selection.names_of(listing.items, "probe", test),
      selection.names_of(listing.items, "gallery", test) + distractors,
    )
    for number, test in enumerate(tests, start=1)
  )
