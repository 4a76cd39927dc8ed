"""CUHK03: five pairs of cameras, boxes detected or drawn by hand.

Three packagings: the authors' archive cuhk-03.mat, folders of images taken out
of it (as deep-person-reid and MetaBIN leave them), and CUHK03-NP, which is in
the three folders of Market-1501. The first two have a train and a test part
only if the lists of the new protocol lie beside them.

The camera is the view (1 or 2), as in every protocol: two images of a person
are of the same pair, so the pair tells nothing more. The classic protocol (20
test sets of 100 persons) is not here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import numpy as np

from metabin_jax.data import listing
from metabin_jax.data.public import cuhk03_archive, image_folders, three_folders
from metabin_jax.data.public.definition import (
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.errors import UserError

# Pair, person of that pair, view, image: 1 to 5 are of view 1.
GRAMMAR = re.compile(
  r"(?P<pid>[1-5]_\d{3})_(?P<view>1(?=_0[1-5])|2(?=_(?:0[6-9]|10)))_\d{2}\.png"
)
# CUHK03-NP: 0001_c1_1.png
NP_GRAMMAR = re.compile(r"(?P<pid>\d{4})_c(?P<cam>[12])_\d{1,5}\.(?:png|jpg)")

# type=detected; without the lists everything is one part.
EXPECTED = {
  "train": Count(7365, 767),
  "query": Count(1400, 700),
  "gallery": Count(5332, 700),
}
EXPECTED_LABELED = {
  "train": Count(7368, 767),
  "query": Count(1400, 700),
  "gallery": Count(5328, 700),
}

_ARCHIVES = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
_LAYOUT = (
  "images_detected/1_001_1_01.png, cuhk03_release/cuhk-03.mat, both with "
  "cuhk03_new_protocol_config_detected.mat beside them if a train and a test "
  "part are wanted, or detected/{bounding_box_train,query,bounding_box_test} "
  "of CUHK03-NP; the same with 'labeled'"
)
_IMAGES, _MAT, _NP = "images", "mat", "np"


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images of one type in one packaging.

  Persons are "<pair>_<person>", in CUHK03-NP "train_0001" and "test_0003".
  Without the lists of the new protocol, all images are of part "images".

  Args:
    root: folder of the data set.
    options: `type`: boxes "detected" or "labeled"; `packaging`: "images",
      "mat" (its images are written below the cache folder once) or "np", or
      "auto" for the first of these that is there.

  Returns:
    The listing; its variant tells the type and the packaging.

  Raises:
    UserError: if the packaging is not there or cannot be read.
  """
  root = os.path.abspath(root)
  kind = options["type"]
  packaging = _find(root, kind, options["packaging"])
  if packaging == _NP:
    items, unknown = three_folders.list_parts(
      root, NP_GRAMMAR, _label_np, layout=_LAYOUT, within=kind
    )
    variant = f"{kind}, cuhk03-np"
    return Listing(root, items, _expected(kind), variant, unknown=unknown)
  folder = f"images_{kind}"
  if packaging == _IMAGES:
    place = os.path.join(root, folder)
    names = listing.list_folder(place)[0]
    variant = f"{kind}, {folder}"
  else:
    place, names = cuhk03_archive.extract(_archive(root), kind)
    variant = f"{kind}, cuhk-03.mat"
  parts = _read_lists(root, kind)
  items_found = []
  unknown_names = []
  for name in names:
    found = GRAMMAR.fullmatch(name)
    if found is None or (parts and name not in parts):
      unknown_names.append(f"{folder}/{name}")
      continue
    camid = int(found["view"])
    part = parts.get(name, "images")
    path = os.path.join(place, name)
    items_found.append(
      Item(path, f"{folder}/{name}", found["pid"], camid, part)
    )
  return Listing(
    root,
    tuple(items_found),
    _expected(kind) if parts else _undivided(_expected(kind)),
    variant,
    tuple(f"{folder}/{name}" for name in sorted(parts.keys() - set(names))),
    tuple(unknown_names),
  )


def _find(root: str, kind: str, wanted: str) -> str:
  there = {
    _IMAGES: bool(image_folders.present(root, [f"images_{kind}"])),
    _MAT: bool(_archive(root)),
    _NP: three_folders.has_parts(root, kind),
  }
  looked_for = {
    _IMAGES: f"images_{kind}/",
    _MAT: _ARCHIVES[0],
    _NP: f"{kind}/bounding_box_train/",
  }
  if wanted == "auto":
    found = [packaging for packaging, present in there.items() if present]
    if found:
      return found[0]
    raise image_folders.missing_layout(root, [*looked_for.values()], _LAYOUT)
  if not there[wanted]:
    raise image_folders.missing_layout(root, [looked_for[wanted]], _LAYOUT)
  return wanted


def _archive(root: str) -> str:
  paths = [os.path.join(root, *name.split("/")) for name in _ARCHIVES]
  return next((path for path in paths if os.path.isfile(path)), "")


def _read_lists(root: str, kind: str) -> dict[str, str]:
  """File name -> part by the lists of the new protocol; {} without them."""
  path = os.path.join(root, f"cuhk03_new_protocol_config_{kind}.mat")
  if not os.path.isfile(path):
    return {}
  import scipy.io

  parts = {}
  try:
    lists = scipy.io.loadmat(path)
    # A cell of strings: an object array of arrays of one string each.
    names = [str(cell[0]) for cell in lists["filelist"].flatten()]
    for part in ("train", "query", "gallery"):
      for index in np.asarray(lists[f"{part}_idx"]).flatten():
        # MATLAB counts from 1.
        parts[names[int(index) - 1]] = part
  except Exception as error:
    # scipy raises many kinds for a damaged file.
    raise UserError(
      f"{path} cannot be read ({type(error).__name__}: {error}); want the list "
      "file of the new protocol, with filelist, train_idx, query_idx and "
      "gallery_idx."
    ) from error
  return parts


def _expected(kind: str) -> dict[str, Count]:
  return EXPECTED if kind == "detected" else EXPECTED_LABELED


def _undivided(parts: Mapping[str, Count]) -> dict[str, Count]:
  images = sum(count.images for count in parts.values())
  # Queries and gallery show the same persons.
  pids = parts["train"].pids + parts["gallery"].pids
  return {"images": Count(images, pids)}


def _label_np(part: str, fields: Mapping[str, str]) -> three_folders.Label:
  side = "train" if part == "train" else "test"
  return three_folders.Label(f"{side}_{fields['pid']}", int(fields["cam"]))


CUHK03 = PublicSet(
  name="cuhk03",
  title="CUHK03",
  roots=("cuhk03", "CUHK03", "cuhk03-np", "CUHK03-NP"),
  layout=_LAYOUT,
  request=(
    "the request form of the authors at the Chinese University of Hong Kong"
  ),
  terms="For academic use.",
  citation=(
    "W. Li, R. Zhao, T. Xiao, X. Wang: DeepReID: Deep Filter Pairing Neural "
    "Network for Person Re-Identification. CVPR 2014. New protocol: Z. Zhong, "
    "L. Zheng, D. Cao, S. Li: Re-ranking Person Re-identification with "
    "k-reciprocal Encoding. CVPR 2017."
  ),
  list_items=list_items,
  options={
    "type": ("detected", "labeled"),
    "packaging": ("auto", _IMAGES, _MAT, _NP),
  },
)
