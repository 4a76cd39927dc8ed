"""Split lists of QMUL i-LIDS."""

from __future__ import annotations

import os

from metabin_jax.data.public import split_files, stable_random
from metabin_jax.data.public.definition import FoldNames, Listing, Splits
from metabin_jax.data.public.matlab_random import MatlabRandom
from metabin_jax.data.public.split_files import DUALNORM, METABIN

_FILE = "splits.json"
_NUM_FOLDS = 10
_DUALNORM_SEED = 5


def make_splits(listing: Listing, protocol: str, place: str) -> Splits:
  """Makes or reads the ten splits.

  60 of the 119 persons are tested, each by one query and one gallery image.

  metabin: the authors drew once without a fixed seed and in the order in which
  their file system listed the images, so only their file splits.json gives
  their lists. It is read if it is at `place` or in the root (their loader
  writes one with other lists if there is none); else we draw: fold k tests the
  second half of `stable_random.permutation(119, "splits/ilids", k)`, and of
  person number p among the sorted ones takes the first two images of
  `stable_random.permutation(images, "splits/ilids/images", k, p)` as query and
  gallery.

  dualnorm: MATLAB's rng(5); for each person in order randperm(images), of which
  the first two are kept for all folds; then ten times randperm(119), second
  half. DualNorm's script sorts the columns of the distances, which belong to
  the first image: it asks, and the second one answers. Not compared with the
  authors' lists.

  Args:
    listing: from `ilids.list_items`. Of other than 119 persons, n // 2 are left
      out and the others tested; persons with one image do not count.
    protocol: "metabin" or "dualnorm".
    place: a file of the authors' form or a saved one; "" looks in the root.

  Raises:
    UserError: if the file is of another form.

  Source: MetaBIN fastreid/data/datasets/DG_iLIDS.py; DualNorm
    evaluate/iLIDS_demo.m.
  """
  names = (_FILE,) if place or protocol == METABIN else ()
  path = split_files.find(place, listing.root, names)
  if path:
    data = split_files.read_json(path)
    if split_files.is_saved(data):
      return split_files.read_saved(data, path, listing, "ilids")
    split_files.refuse_protocol(protocol, path)
    folds = split_files.read_named(data, path, listing)
    return Splits(METABIN, f"MetaBIN's file {os.path.basename(path)}", folds)
  if protocol == DUALNORM:
    origin = split_files.drawn_as_in_matlab(_DUALNORM_SEED)
    return Splits(DUALNORM, origin, _draw_dualnorm(_images(listing)))
  return Splits(METABIN, split_files.OURS, _draw_ours(_images(listing)))


def _images(listing: Listing) -> list[list[str]]:
  """Names of the images of each person who has two or more, by pid."""
  names: dict[str, list[str]] = {}
  for item in listing.items:
    names.setdefault(item.pid, []).append(item.name)
  return [names[pid] for pid in sorted(names) if len(names[pid]) > 1]


def _draw_ours(images: list[list[str]]) -> tuple[FoldNames, ...]:
  folds = []
  for number in range(1, _NUM_FOLDS + 1):
    order = stable_random.permutation(len(images), "splits/ilids", number)
    pairs = []
    for person in sorted(order[len(images) // 2 :]):
      names = images[person]
      first, second, *_ = stable_random.permutation(
        len(names), "splits/ilids/images", number, person
      )
      pairs.append((names[first], names[second]))
    folds.append(_fold(number, pairs))
  return tuple(folds)


def _draw_dualnorm(images: list[list[str]]) -> tuple[FoldNames, ...]:
  matlab = MatlabRandom(_DUALNORM_SEED)
  pairs = []
  for names in images:
    first, second, *_ = matlab.randperm(len(names))
    pairs.append((names[first], names[second]))
  folds = []
  for number in range(1, _NUM_FOLDS + 1):
    order = matlab.randperm(len(pairs))
    test = sorted(order[len(pairs) // 2 :])
    folds.append(_fold(number, [pairs[person] for person in test]))
  return tuple(folds)


def _fold(number: int, pairs: list[tuple[str, str]]) -> FoldNames:
  queries = tuple(query for query, _ in pairs)
  return FoldNames(str(number), queries, tuple(answer for _, answer in pairs))
