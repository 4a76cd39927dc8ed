"""PKU-Reid: each person from eight sides in each of two cameras.

The expected counts are the published ones (114 persons, 1,824 images). A part
of the set, for example 74 of its persons, is read with `partial=allow`, and
every result then says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from metabin_jax.data.listing import list_folder
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  Count,
  Item,
  Listing,
  PublicSet,
)

GRAMMAR = re.compile(
  r"(?P<pid>\d{3})_(?P<camera>0[12])_(?P<orientation>[1-8])\.png"
)
_PARTS = {"01": "query", "02": "gallery"}
_ORIENTATIONS = range(1, 9)

# Source: the authors' description, "114 individuals including 1824 images
# captured from two disjoint camera views", eight in each view.
EXPECTED = {"query": Count(912, 114), "gallery": Count(912, 114)}


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images: camera 1 asks, camera 2 answers.

  The authors drew 57 persons for training and 57 for testing; their lists are
  not known to us, so all persons are in the test, and none in a train part.
  """
  del options
  root = os.path.abspath(root)
  items: list[Item] = []
  unknown: list[str] = []
  for file in list_folder(root)[0]:
    match = GRAMMAR.fullmatch(file)
    if match:
      camera = match["camera"]
      path = os.path.join(root, file)
      item = Item(path, file, match["pid"], int(camera), _PARTS[camera])
      items.append(item)
    else:
      unknown.append(file)
  whole = (
    f"{pid}_{camera}_{orientation}.png"
    for pid in sorted({item.pid for item in items})
    for camera in _PARTS
    for orientation in _ORIENTATIONS
  )
  there = {item.name for item in items}
  missing = tuple(name for name in whole if name not in there)
  return Listing(
    root, tuple(items), EXPECTED, missing=missing, unknown=tuple(unknown)
  )


PKU_REID = PublicSet(
  name="pku_reid",
  title="PKU-Reid",
  roots=(
    "PKUv1a_128x48",
    "PKU-Reid/PKUv1a_128x48",
    "PKU-Reid-Dataset/PKUv1a_128x48",
    "PKU-Reid/images",
    "pku_reid/images",
    "PKU-Reid",
    "pku_reid",
    "images",
  ),
  layout="<person>_<camera>_<orientation>.png, as 001_01_1.png, in one folder",
  request="the authors' repository, named PKU-Reid-Dataset",
  terms="Creative Commons BY-NC-SA 4.0: no commercial use, share alike.",
  citation=(
    "L. Ma, H. Liu, L. Hu, C. Wang, Q. Sun, Orientation Driven Bag of "
    "Appearances for Person Re-identification, arXiv:1605.02464, 2016"
  ),
  list_items=list_items,
  uses=(STANDARD, ALL),
)
