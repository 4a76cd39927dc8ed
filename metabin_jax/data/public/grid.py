"""QMUL underground re-identification (GRID): cameras in one metro station."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metabin_jax.data.public import grid_splits, image_folders
from metabin_jax.data.public.definition import (
  ALL,
  DISTRACTOR,
  PERSON,
  STANDARD,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.public.split_files import DUALNORM, METABIN

NAME = re.compile(r"(?P<pid>\d{4})_(?P<cam>\d)_.*\.jpeg")
"""Person, camera, then frame and box (0001_1_25004_107_32_106_221.jpeg)."""

EXPECTED = {
  "gallery": Count(250, 250),
  "gallery distractor": Count(775, 1),
  "probe": Count(250, 250),
}

_FOLDERS = ("probe", "gallery")
_DISTRACTOR = "0000"
_LAYOUT = (
  "probe/*.jpeg and gallery/*.jpeg named 0001_1_25004_107_32_106_221.jpeg, "
  "beside features_and_partitions.mat"
)


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images; person 0000 stands for distractors.

  Args:
    root: folder with probe and gallery.
    options: none.

  Raises:
    UserError: if probe or gallery is not there.
  """
  del options
  found, unknown = image_folders.scan(root, _FOLDERS, NAME, layout=_LAYOUT)
  items = tuple(_item(image) for image in found)
  return Listing(
    root=root,
    items=items,
    expected=EXPECTED,
    missing=_missing(items),
    unknown=unknown,
  )


def _item(image: image_folders.NamedImage) -> Item:
  pid = image.fields["pid"]
  return Item(
    image.path,
    image.name,
    pid,
    int(image.fields["cam"]),
    image.folder,
    DISTRACTOR if pid == _DISTRACTOR else PERSON,
  )


def _missing(items: tuple[Item, ...]) -> tuple[str, ...]:
  """Every person has an image in both folders."""
  seen = {
    part: {i.pid for i in items if i.part == part and i.role == PERSON}
    for part in _FOLDERS
  }
  every = set.union(*seen.values())
  return tuple(
    f"{part}/{pid}_*.jpeg"
    for part, pids in seen.items()
    for pid in sorted(every - pids)
  )


GRID = PublicSet(
  name="grid",
  title="QMUL underground re-identification (GRID)",
  roots=("GRID", "grid/underground_reid", "underground_reid", "grid"),
  layout=_LAYOUT,
  request=(
    "from Chen Change Loy's page of the QMUL underground re-identification "
    "data set (archive underground_reid)"
  ),
  terms="Free for research, as far as known; read the page's own terms.",
  citation=(
    "C. C. Loy, T. Xiang, S. Gong: Multi-Camera Activity Correlation Analysis, "
    "CVPR 2009"
  ),
  list_items=list_items,
  uses=(STANDARD, ALL),
  protocols=(METABIN, DUALNORM),
  make_splits=grid_splits.make_splits,
)
