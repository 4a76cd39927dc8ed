"""CUHK-SYSU: persons cut out of a person search data set, for training only.

Two kinds of crops circulate. MetaBIN's are PNG files cut by a MATLAB script,
torchreid's are JPEG files from its authors. From the full data set we cut the
former ourselves. The variant of a listing says which one was read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from metabin_jax.data.listing import list_folder
from metabin_jax.data.public import cuhk_sysu_crops, extraction
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  TRAIN,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.public.image_folders import missing_layout, scan
from metabin_jax.data.records import UNKNOWN_CAMERA
from metabin_jax.errors import UserError

METABIN_GRAMMAR = re.compile(
  r"p(?P<pid>\d{5})_n(?P<n>\d{2,})_s(?P<scene>\d{5})_hard(?P<hard>[01])\.png"
)
TORCHREID_GRAMMAR = re.compile(r"p(?P<pid>\d+)_s(?P<scene>\d+)_(?P<n>\d+)\.jpg")

# Values of the option `crop`, and what they are read from.
METABIN = "metabin"
TORCHREID = "torchreid"
OWN = "own"
_FOLDERS = {METABIN: "cropped_image", TORCHREID: "cropped_images"}
_GRAMMARS = {METABIN: METABIN_GRAMMAR, TORCHREID: TORCHREID_GRAMMAR}
_SCENES = "Image/SSM"
_PERSONS = "annotation/Person.mat"

# Source: torchreid, data/datasets/image/cuhksysu.py. The 8,432 persons of the
# person search paper are those that it searches for; Person.mat has more.
EXPECTED = {"train": Count(34574, 11934)}


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the crops; every image is of the part "train".

  The scene number of a name is no camera, so the camera is unknown. Persons are
  written as in Person.mat ("p1"), whichever crops are read.
  """
  root = os.path.abspath(root)
  crop = _choose(root, options["crop"])
  if crop == OWN:
    return _cut_out(root)
  found, unknown = scan(
    root, [_FOLDERS[crop]], _GRAMMARS[crop], layout=CUHK_SYSU.layout
  )
  items = tuple(
    _item(image.path, image.name, f"p{int(image.fields['pid'])}")
    for image in found
  )
  return Listing(root, items, EXPECTED, variant=crop, unknown=unknown)


def _choose(root: str, crop: str) -> str:
  """Which crops to read; MetaBIN's before ours, as they are the same ones."""
  if crop != "auto":
    return crop
  present = [
    choice
    for choice in (METABIN, TORCHREID, OWN)
    if os.path.isdir(os.path.join(root, *_place(choice).split("/")))
  ]
  if METABIN in present and OWN in present:
    present.remove(OWN)
  if len(present) > 1:
    raise UserError(
      f"{root} holds CUHK-SYSU as {' and as '.join(map(_place, present))}, "
      "which differ; choose by "
      f"{' or '.join(f'crop={choice}' for choice in present)}."
    )
  if not present:
    wanted = [*_FOLDERS.values(), _SCENES]
    raise missing_layout(root, wanted, CUHK_SYSU.layout)
  return present[0]


def _place(crop: str) -> str:
  return _FOLDERS.get(crop, _SCENES)


def _item(path: str, name: str, pid: str) -> Item:
  return Item(path, name, pid, UNKNOWN_CAMERA, "train")


def _cut_out(root: str) -> Listing:
  """Writes those crops that are not in the cache yet, and lists all."""
  folder = os.path.join(root, *_SCENES.split("/"))
  if not os.path.isdir(folder):
    raise missing_layout(root, [_SCENES], CUHK_SYSU.layout)
  persons = os.path.join(root, *_PERSONS.split("/"))
  if not os.path.isfile(persons):
    raise cuhk_sysu_crops.no_identities(persons, "is not there")
  crops = cuhk_sysu_crops.read_crops(persons)
  there = set(list_folder(folder)[0])
  usable = [crop for crop in crops if crop.scene in there]
  cache = extraction.folder_for("cuhk_sysu", [persons], folder)
  by_scene = sorted(usable, key=lambda crop: (crop.scene, crop.name))
  load = cuhk_sysu_crops.make_loader(usable, folder)
  extraction.write_images(cache, [crop.name for crop in by_scene], load)
  missing = sorted({crop.scene for crop in crops} - there)
  return Listing(
    root,
    # Named as MetaBIN's crops are: they are the same pictures.
    items=tuple(
      _item(
        os.path.join(cache, crop.name),
        f"{_FOLDERS[METABIN]}/{crop.name}",
        crop.pid,
      )
      for crop in usable
    ),
    expected=EXPECTED,
    variant=OWN,
    missing=tuple(f"{_SCENES}/{scene}" for scene in missing),
  )


CUHK_SYSU = PublicSet(
  name="cuhk_sysu",
  title="CUHK-SYSU",
  roots=("CUHK-SYSU", "cuhksysu", "cuhk_sysu", "dataset"),
  layout=(
    "cropped_image/p*_n*_s*_hard*.png, cropped_images/p*_s*_*.jpg, or "
    "Image/SSM/s*.jpg with annotation/Person.mat"
  ),
  request="an agreement sent to the authors by email",
  terms="Academic use only, on request.",
  citation=(
    "T. Xiao, S. Li, B. Wang, L. Lin, X. Wang, Joint Detection and "
    "Identification Feature Learning for Person Search, CVPR 2017"
  ),
  list_items=list_items,
  options={"crop": ("auto", METABIN, TORCHREID, OWN)},
  uses=(ALL, STANDARD, TRAIN),
)
