"""MSMT17: fifteen cameras; lists name the images of each part.

Three packagings: the authors' version 1, version 2 (the same images with
blurred faces), and a repack into the three folders of Market-1501, of which
nothing tells the version. If MSMT17_V1 and MSMT17_V2 lie side by side and their
parent is named, version 1 is read; the variant in every result tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from metabin_jax.data import listing
from metabin_jax.data.public import image_folders, three_folders
from metabin_jax.data.public.definition import (
  Count,
  Item,
  Listing,
  PublicSet,
  tally,
)
from metabin_jax.errors import UserError

# Person, number of the image, camera, day and time, frame, box:
# 0000_000_01_0303morning_0015_0.jpg, 0013_003_01_0303morning_0164_1_ex.jpg
GRAMMAR = re.compile(r"\d{4}_\d{3}_(?P<cam>0[1-9]|1[0-5])_\w+\.jpg")
# The repack: 0000_c14_0030.jpg, or the authors' name.
REPACK_GRAMMAR = re.compile(
  r"(?P<pid>\d{4})_(?:c(?P<cam>[1-9]|1[0-5])_\w+"
  r"|\d{3}_(?P<own_cam>0[1-9]|1[0-5])_\w+)\.jpg"
)

# With the images of list_val.txt in the train part.
EXPECTED = {
  "train": Count(32621, 1041),
  "query": Count(11659, 3060),
  "gallery": Count(82161, 3060),
}
# list_train.txt alone, as deep-person-reid and fast-reid train.
EXPECTED_LIST_TRAIN = Count(30248, 1041)
EXPECTED_LIST_VAL_IMAGES = 2373

# Version -> (folder of the train lists, folder of the test lists).
_VERSIONS = {
  "v1": ("train", "test"),
  "v2": ("mask_train_v2", "mask_test_v2"),
}
_REPACK = "repack"
# List -> (part, index into _VERSIONS' folders).
_LISTS = {
  "list_train.txt": ("train", 0),
  "list_val.txt": ("val", 0),
  "list_query.txt": ("query", 1),
  "list_gallery.txt": ("gallery", 1),
}
_LAYOUT = (
  "train/<pid>/ and test/<pid>/ (version 2: mask_train_v2/ and mask_test_v2/) "
  "with list_train.txt, list_val.txt, list_query.txt and list_gallery.txt, or "
  "bounding_box_train/, query/ and bounding_box_test/"
)


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists what the four lists name, or the three folders of the repack.

  The numbers of the persons start again in the test part: those become
  "test_0000". Person 0000 is a person like any other.

  Args:
    root: folder of the data set.
    options: `val`: whether the images of list_val.txt belong to the train part
      ("yes"), or are a part of their own that `use=all` alone reads ("no"). A
      repack has no such part; "no" then expects a train folder without them.

  Returns:
    The listing; listed files and whole lists that are not there are missing,
    images on no list are unknown.

  Raises:
    UserError: if no layout is there, or two are, or a list has a wrong line.
  """
  root = os.path.abspath(root)
  version = _find(root)
  with_val = options["val"] == "yes"
  if version == _REPACK:
    items, unknown = three_folders.list_parts(
      root, REPACK_GRAMMAR, _label, layout=_LAYOUT
    )
    expected = dict(EXPECTED)
    if not with_val:
      expected["train"] = EXPECTED_LIST_TRAIN
    return Listing(root, items, expected, version, unknown=unknown)
  return _follow_lists(root, version, with_val)


def _find(root: str) -> str:
  found = [
    version
    for version, folders in _VERSIONS.items()
    if image_folders.present(root, folders) == folders
  ]
  if three_folders.has_parts(root):
    found.append(_REPACK)
  if not found:
    raise image_folders.missing_layout(
      root, [*_VERSIONS["v1"], *_VERSIONS["v2"]], _LAYOUT
    )
  if len(found) > 1:
    raise UserError(
      f"{root} holds several packagings of MSMT17 ({', '.join(found)}); move "
      "each into a folder of its own and name one."
    )
  return found[0]


def _follow_lists(root: str, version: str, with_val: bool) -> Listing:
  folders = _VERSIONS[version]
  present = [_images_below(root, folder) for folder in folders]
  there = [n for n in _LISTS if os.path.isfile(os.path.join(root, n))]
  if not there:
    raise image_folders.missing_layout(root, ["list_train.txt"], _LAYOUT)
  items: list[Item] = []
  missing = [name for name in _LISTS if name not in there]
  unknown: list[str] = []
  listed: set[str] = set()
  for list_name in there:
    part, side = _LISTS[list_name]
    prefix = "test_" if side else ""
    for relative, pid in _read_list(os.path.join(root, list_name)):
      name = f"{folders[side]}/{relative}"
      found = GRAMMAR.fullmatch(relative.rpartition("/")[2])
      if name in listed:
        raise UserError(
          f"{relative} is listed twice, the second time in "
          f"{os.path.join(root, list_name)}; get the lists anew."
        )
      listed.add(name)
      if name not in present[side]:
        missing.append(name)
      elif found is None:
        unknown.append(name)
      else:
        path = os.path.join(root, *name.split("/"))
        kept = "train" if part == "val" and with_val else part
        camid = int(found["cam"])
        items.append(Item(path, name, f"{prefix}{pid:04d}", camid, kept))
  unknown += sorted((present[0] | present[1]) - listed)
  items.sort(key=lambda item: item.name)
  return Listing(
    root,
    tuple(items),
    _expected(items, with_val),
    version,
    tuple(missing),
    tuple(unknown),
  )


def _images_below(root: str, folder: str) -> set[str]:
  """Names of the images in the persons' folders: no look at single files."""
  place = os.path.join(root, folder)
  return {
    f"{folder}/{pid}/{file}"
    for pid in listing.list_folder(place)[1]
    for file in listing.list_folder(os.path.join(place, pid))[0]
  }


def _read_list(path: str) -> list[tuple[str, int]]:
  rows = []
  with open(path, encoding="utf-8") as lines:
    for number, line in enumerate(lines, 1):
      words = line.split()
      if not words:
        continue
      if len(words) != 2 or not words[1].isdecimal():
        raise UserError(
          f"line {number} of {path} is {line.strip()!r}; want a file name, a "
          "space and a number, such as 0000/0000_000_01_0303morning_0015_0.jpg "
          "0; get the list anew."
        )
      rows.append((words[0], int(words[1])))
  return rows


def _expected(items: list[Item], with_val: bool) -> dict[str, Count]:
  if with_val:
    return EXPECTED
  # How many persons list_val.txt has is published nowhere that we know of:
  # only the number of its images is checked.
  found = tally(items).get("val", Count(0, 0))
  return {
    **EXPECTED,
    "train": EXPECTED_LIST_TRAIN,
    "val": Count(EXPECTED_LIST_VAL_IMAGES, found.pids),
  }


def _label(part: str, fields: Mapping[str, str]) -> three_folders.Label:
  prefix = "" if part == "train" else "test_"
  camid = int(fields["cam"] or fields["own_cam"])
  return three_folders.Label(f"{prefix}{fields['pid']}", camid)


MSMT17 = PublicSet(
  name="msmt17",
  title="MSMT17",
  roots=("MSMT17_V1", "MSMT17_V2", "msmt17", "MSMT17"),
  layout=_LAYOUT,
  request=(
    "a signed release agreement, sent by e-mail to the authors at Peking "
    "University"
  ),
  terms="Not public; under the agreement that its authors ask to be signed.",
  citation=(
    "L. Wei, S. Zhang, W. Gao, Q. Tian: Person Transfer GAN to Bridge Domain "
    "Gap for Person Re-Identification. CVPR 2018."
  ),
  list_items=list_items,
  options={"val": ("yes", "no")},
)
