"""Split lists of PRID 2011."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from metabin_jax.data.public import selection, split_files, stable_random
from metabin_jax.data.public.definition import FoldNames, Listing, Splits
from metabin_jax.data.public.matlab_random import MatlabRandom
from metabin_jax.data.public.split_files import DUALNORM, METABIN

NUM_SHARED = 200
"""Persons 1 to 200 were seen by both cameras."""

_FILE = "splits_single_shot.json"
_NUM_FOLDS = 10
_DUALNORM_SEED = 10


def make_splits(listing: Listing, protocol: str, place: str) -> Splits:
  """Makes or reads the ten splits.

  100 of the 200 shared persons are tested. Their images in cam_a ask; their
  images in cam_b and all that cam_b has from person 201 on answer: 100 queries,
  649 gallery images. The other 100 are in neither.

  metabin: the authors drew once without a fixed seed, so only their file
  splits_single_shot.json gives their lists. It is read if it is at `place` or
  in the root (their loader writes one with other lists if there is none); else
  we draw: fold k tests the second half of
  `stable_random.permutation(200, "splits/prid", k)`.

  dualnorm: MATLAB's rng(10), ten times randperm(200), first half. Not compared
  with the authors' lists.

  Args:
    listing: from `prid.list_items`. With fewer shared persons, half of them is
      tested.
    protocol: "metabin" or "dualnorm".
    place: a file of the authors' form or a saved one; "" for none.

  Raises:
    UserError: if the file is of another form.

  Source: MetaBIN fastreid/data/datasets/DG_prid.py; DualNorm
    evaluate/PRID2011_demo.m.
  """
  names = (_FILE,) if place or protocol == METABIN else ()
  path = split_files.find(place, listing.root, names)
  if path:
    data = split_files.read_json(path)
    if split_files.is_saved(data):
      return split_files.read_saved(data, path, listing, "prid")
    split_files.refuse_protocol(protocol, path)
    origin = f"MetaBIN's file {os.path.basename(path)}"
    return Splits(METABIN, origin, _read(data, path, listing))
  persons = selection.common_persons(listing.items, "cam_a", "cam_b")
  half = len(persons) // 2
  if protocol == DUALNORM:
    matlab = MatlabRandom(_DUALNORM_SEED)
    orders = [matlab.randperm(len(persons)) for _ in range(_NUM_FOLDS)]
    tests = [order[:half] for order in orders]
    origin = split_files.drawn_as_in_matlab(_DUALNORM_SEED)
  else:
    tests = [
      stable_random.permutation(len(persons), "splits/prid", number)[half:]
      for number in range(1, _NUM_FOLDS + 1)
    ]
    origin = split_files.OURS
  folds = tuple(
    _fold(number, [persons[place] for place in test], listing)
    for number, test in enumerate(tests, start=1)
  )
  return Splits(protocol, origin, folds)


def _read(data: Any, path: str, listing: Listing) -> tuple[FoldNames, ...]:
  """Reads [{"train": [numbers], "test": [numbers]}]."""
  try:
    tests = [[_pid(number) for number in split["test"]] for split in data]
  except (KeyError, TypeError, ValueError):
    tests = []
  if not tests or not all(tests):
    raise split_files.unfit(
      path,
      'a list of {"train", "test"}, each a list of person numbers from 1 to '
      f"{NUM_SHARED}",
    )
  return tuple(
    _fold(number, test, listing) for number, test in enumerate(tests, start=1)
  )


def _pid(number: Any) -> str:
  # A number that is not whole fails in the format.
  if not 1 <= number <= NUM_SHARED:
    raise ValueError
  return f"{number:04d}"


def _fold(number: int, test: Iterable[str], listing: Listing) -> FoldNames:
  tested = sorted(test)
  others = {i.pid for i in listing.items if i.pid.startswith("b")}
  return FoldNames(
    str(number),
    _shared_names("cam_a", tested),
    _shared_names("cam_b", tested)
    + selection.names_of(listing.items, "cam_b", others),
  )


def _shared_names(part: str, pids: Iterable[str]) -> tuple[str, ...]:
  # By name and not from the listing, so that one that is missing is reported.
  return tuple(f"single_shot/{part}/person_{pid}.png" for pid in pids)
