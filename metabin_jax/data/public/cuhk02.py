"""CUHK02: five pairs of cameras, two images of a person in each camera.

Pair P1 has 971 persons. The classifier in the published code of DualNorm has
17,685 rows, and that is what the five sources of the benchmark add up to if P1
stands for the whole of CUHK02 (971 + 1,467 + 1,501 + 1,812 + 11,934). That
DualNorm used P1 alone follows from this sum only; its authors do not say so.
Choose it with the option `pairs=P1`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from metabin_jax.data.listing import list_folder
from metabin_jax.data.public.definition import Count, Item, Listing, PublicSet
from metabin_jax.data.public.image_folders import missing_layout
from metabin_jax.errors import UserError

GRAMMAR = re.compile(r"(?P<pid>\d+)_(?P<image>\d+)\.png")
PAIRS = ("P1", "P2", "P3", "P4", "P5")
_TEST_PAIR = "P5"
_CAMERAS = ("cam1", "cam2")
_NUM_IMAGES = 2  # of a person in one camera
_INNER = "Dataset"

# Source: torchreid, data/datasets/image/cuhk02.py: 971, 306, 107, 193 and 239
# persons in P1 to P5, four images of each.
EXPECTED = {
  "train": Count(6308, 1577),
  "query": Count(478, 239),
  "gallery": Count(478, 239),
}
EXPECTED_P1 = {"train": Count(3884, 971)}


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images of all pairs, or of P1.

  Persons are numbered anew in every pair, hence "P1_001". The ten cameras stay
  apart: pair p and view v give camera 2 (p - 1) + v. Parts as in torchreid: P1
  to P4 are for training, camera 1 of P5 asks and camera 2 answers.
  """
  place = _find_pairs(os.path.abspath(root))
  only_first = options["pairs"] == "P1"
  items: list[Item] = []
  missing: list[str] = []
  unknown: list[str] = []
  for number, pair in enumerate(PAIRS[:1] if only_first else PAIRS):
    cells: dict[tuple[str, str], int] = {}
    read = []
    for view, camera in enumerate(_CAMERAS, start=1):
      folder = os.path.join(place, pair, camera)
      if not os.path.isdir(folder):
        missing.append(f"{pair}/{camera}")
        continue
      read.append(camera)
      part = "train" if pair != _TEST_PAIR else ("query", "gallery")[view - 1]
      for file in list_folder(folder)[0]:
        name = f"{pair}/{camera}/{file}"
        match = GRAMMAR.fullmatch(file)
        cell = (match["pid"] if match else "", camera)
        # A third image has no place in the published set. The first two by
        # name are kept, and the rest is reported.
        if not match or cells.get(cell, 0) == _NUM_IMAGES:
          unknown.append(name)
          continue
        cells[cell] = cells.get(cell, 0) + 1
        path = os.path.join(folder, file)
        pid = f"{pair}_{match['pid']}"
        items.append(Item(path, name, pid, 2 * number + view, part))
    missing += _incomplete(pair, read, cells)
  return Listing(
    root=place,
    items=tuple(items),
    expected=EXPECTED_P1 if only_first else EXPECTED,
    variant="P1" if only_first else "",
    missing=tuple(missing),
    unknown=tuple(unknown),
  )


def _incomplete(
  pair: str, cameras: list[str], cells: Mapping[tuple[str, str], int]
) -> list[str]:
  names = []
  for camera in cameras:
    for pid in sorted({pid for pid, _ in cells}):
      have = cells.get((pid, camera), 0)
      if have < _NUM_IMAGES:
        names.append(f"{pair}/{camera}/{pid}_* ({have} of {_NUM_IMAGES})")
  return names


def _find_pairs(root: str) -> str:
  """The folder that holds P1 to P5: the root, or "Dataset" below it."""
  inner = os.path.join(root, _INNER)
  found = [
    place
    for place in (root, inner)
    if any(os.path.isdir(os.path.join(place, pair)) for pair in PAIRS)
  ]
  if not found:
    raise missing_layout(root, ["P1..P5", f"{_INNER}/P1..P5"], CUHK02.layout)
  if len(found) > 1:
    raise UserError(
      f"{root} holds CUHK02 twice, as P1..P5 and as {_INNER}/P1..P5; move one "
      f"of them away, or give {inner}."
    )
  return found[0]


CUHK02 = PublicSet(
  name="cuhk02",
  title="CUHK02",
  roots=("cuhk02", "CUHK02"),
  layout="P1..P5/{cam1,cam2}/<person>_<image>.png, or these below Dataset/",
  request=(
    "the request form of the CUHK person re-identification page (Multimedia "
    "Laboratory, Chinese University of Hong Kong); answers may take long"
  ),
  terms="Academic use only, on request.",
  citation=(
    "W. Li, X. Wang, Locally Aligned Feature Transforms across Views, CVPR 2013"
  ),
  list_items=list_items,
  options={"pairs": ("all", "P1")},
  overlaps=("cuhk01",),
)
