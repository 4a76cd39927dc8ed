"""3DPeS: persons on a university campus, for training only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from metabin_jax.data.listing import list_folder
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  TRAIN,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.public.image_folders import missing_layout
from metabin_jax.data.records import UNKNOWN_CAMERA
from metabin_jax.errors import UserError

GRAMMAR = re.compile(r"(?P<pid>\d+)_(?P<sequence>\d+)_.*\.bmp")
_PERSON = re.compile(r"\d+")
_FLAT = "RGB"

# Source: the data table of fast-reid's DG-ReID project. Surveys say 192 persons
# and 1,011 images; neither was counted by us.
EXPECTED = {"train": Count(1012, 193)}


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images of either packaging.

  In the folder RGB the name tells the person, else the folder does. The second
  number of a name counts a person's sequences; that it were a camera is not
  documented, so the camera is unknown.
  """
  del options
  root = os.path.abspath(root)
  _, folders, _ = list_folder(root)
  persons = [folder for folder in folders if _PERSON.fullmatch(folder)]
  if _FLAT in folders and persons:
    raise UserError(
      f"{root} holds 3DPeS twice, in {_FLAT} and in one folder for each "
      "person; move one of them away."
    )
  if _FLAT in folders:
    found, variant = _flat(root), _FLAT
  elif persons:
    found, variant = _by_person(root, persons), "folders"
  else:
    raise missing_layout(root, [_FLAT, "<person>"], THREEDPES.layout)
  items: list[Item] = []
  unknown: list[str] = []
  for name, pid in found:
    path = os.path.join(root, *name.split("/"))
    if pid:
      items.append(Item(path, name, pid, UNKNOWN_CAMERA, "train"))
    else:
      unknown.append(name)
  return Listing(
    root, tuple(items), EXPECTED, variant=variant, unknown=tuple(unknown)
  )


def _flat(root: str) -> Iterable[tuple[str, str]]:
  """Pairs of a name and its person, "" if the name does not fit."""
  for file in list_folder(os.path.join(root, _FLAT))[0]:
    match = GRAMMAR.fullmatch(file)
    yield f"{_FLAT}/{file}", match["pid"] if match else ""


def _by_person(root: str, persons: list[str]) -> Iterable[tuple[str, str]]:
  for person in persons:
    for file in list_folder(os.path.join(root, person))[0]:
      yield f"{person}/{file}", person if file.endswith(".bmp") else ""


THREEDPES = PublicSet(
  name="3dpes",
  title="3DPeS",
  roots=("3DPeS", "3dpes"),
  layout="<person>/*.bmp, or RGB/<person>_<sequence>_*.bmp",
  request="the authors' page on 3DPeS (University of Modena, openvisor.org)",
  terms="For research; ask the authors before any other use.",
  citation=(
    "D. Baltieri, R. Vezzani, R. Cucchiara, 3DPeS: 3D People Dataset for "
    "Surveillance and Forensics, ACM workshop J-HGBU 2011"
  ),
  list_items=list_items,
  uses=(ALL, STANDARD, TRAIN),
)
