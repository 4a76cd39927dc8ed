"""Split lists of VIPeR."""

from __future__ import annotations

import os
import re

from metabin_jax.data import listing as folder_listing
from metabin_jax.data.public import image_folders, selection, split_files
from metabin_jax.data.public.definition import FoldNames, Listing, Splits
from metabin_jax.data.public.matlab_random import MatlabRandom
from metabin_jax.data.public.split_files import DUALNORM, METABIN
from metabin_jax.errors import UserError

# Folder of a camera, also its part -> camera number.
CAMERAS = {"cam_a": 1, "cam_b": 2}
# Camera as MetaBIN's file names have it -> part.
PARTS = {str(camid): part for part, camid in CAMERAS.items()}
NAME = re.compile(r"p(?P<pid>\d{3})_c(?P<cam>[12])_d(?P<angle>\d{3})\.png")
"""File names in MetaBIN's split folders."""

_FOLDER = re.compile(r"split_(\d+)a")
_LAYOUT = (
  "split_1a to split_10a, each with query and gallery of p000_c1_d045.png"
)
_NUM_FOLDS = 10
_SEEDS = {METABIN: 0, DUALNORM: 25}


def make_splits(listing: Listing, protocol: str, place: str) -> Splits:
  """Makes or reads the ten splits.

  Half of the persons is tested: 316 queries, 316 gallery images.

  metabin: folds "1a" to "10a". The authors drew by MATLAB's rng(0), ten times
  randperm(632), and tested the second half of each, cam_a against cam_b. The
  numbers are positions in the sorted list of images. Their folders split_1a to
  split_10a are read if they are at `place` or below the root; else the lists
  are drawn again in the same way, which was not compared with the folders.

  dualnorm: rng(25), ten times randperm(632), second half. DualNorm's script
  sorts the columns of the distances with cam_a in the rows, so cam_b asks and
  cam_a answers. Not compared with the authors' lists.

  Args:
    listing: from `viper.list_items`. Of other than 632 persons the same is made
      with their number.
    protocol: "metabin" or "dualnorm".
    place: a folder with split_1a, ..., or a saved file; "" for none.

  Raises:
    UserError: if `place` is neither, or folders are missing.

  Source: MetaBIN datasets/make_split.m; DualNorm evaluate/VIPeR_demo.m.
  """
  if place and not os.path.isdir(place):
    path = split_files.find(place, listing.root, ())
    data = split_files.read_json(path)
    if not split_files.is_saved(data):
      raise split_files.unfit(
        path, f"a file saved by metabin_jax, or a folder with {_LAYOUT}"
      )
    return split_files.read_saved(data, path, listing, "viper")
  if place:
    split_files.refuse_protocol(protocol, place)
  if place or (protocol == METABIN and split_folders(listing.root)):
    return _read_folders(place or listing.root, listing)
  return _draw(listing, protocol)


def split_folders(folder: str) -> list[str]:
  """Names of MetaBIN's folders split_1a, split_2a, ... in a folder, in order.

  The variants b, c and d (halves or cameras exchanged) do not count.
  """
  found = map(_FOLDER.fullmatch, folder_listing.list_folder(folder)[1])
  numbers = sorted(int(match[1]) for match in found if match)
  return [f"split_{number}a" for number in numbers]


def _read_folders(folder: str, listing: Listing) -> Splits:
  wanted = [f"split_{number}a" for number in range(1, _NUM_FOLDS + 1)]
  have = split_folders(folder)
  lacking = [name for name in wanted if name not in have]
  if lacking:
    raise UserError(
      f"{folder} has {len(have)} of the {_NUM_FOLDS} folders split_1a to "
      f"split_{_NUM_FOLDS}a, {lacking[0]} is not there; complete them, or move "
      "them away so that the lists are drawn."
    )
  items = {(item.pid, item.part): item.name for item in listing.items}
  folds = []
  for split in wanted:
    names = {}
    for part in ("query", "gallery"):
      found, unknown = image_folders.scan(
        folder, [f"{split}/{part}"], NAME, layout=_LAYOUT
      )
      if unknown or not found:
        what = f"holds {unknown[0]}" if unknown else "holds no image"
        raise UserError(f"{folder}/{split}/{part} {what}; want {_LAYOUT}.")
      keys = [(f.fields["pid"], PARTS[f.fields["cam"]]) for f in found]
      names[part] = tuple(
        items.get(key, image.name)
        for key, image in zip(keys, found, strict=True)
      )
    fold = split.removeprefix("split_")
    folds.append(FoldNames(fold, names["query"], names["gallery"]))
  origin = "MetaBIN's folders split_1a to split_10a"
  return Splits(METABIN, origin, tuple(folds))


def _draw(listing: Listing, protocol: str) -> Splits:
  query, gallery = "cam_a", "cam_b"
  if protocol == DUALNORM:
    query, gallery = gallery, query
  persons = selection.common_persons(listing.items, query, gallery)
  seed = _SEEDS[protocol]
  matlab = MatlabRandom(seed)
  folds = []
  for number in range(1, _NUM_FOLDS + 1):
    order = matlab.randperm(len(persons))
    test = [persons[place] for place in order[len(persons) // 2 :]]
    folds.append(
      FoldNames(
        f"{number}a" if protocol == METABIN else f"{number}",
        selection.names_of(listing.items, query, test),
        selection.names_of(listing.items, gallery, test),
      )
    )
  origin = split_files.drawn_as_in_matlab(seed)
  return Splits(protocol, origin, tuple(folds))
