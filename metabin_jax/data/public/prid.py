"""PRID 2011, its single-shot part: 200 persons seen by both of two cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metabin_jax.data.public import image_folders, prid_splits
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.public.prid_splits import NUM_SHARED
from metabin_jax.data.public.split_files import DUALNORM, METABIN

NAME = re.compile(r"person_(?P<pid>\d{4})\.png")
"""Person; numbers above 200 are other persons in the other camera."""

EXPECTED = {"cam_a": Count(385, 385), "cam_b": Count(749, 749)}

_CAMERAS = {"single_shot/cam_a": 1, "single_shot/cam_b": 2}
_LAYOUT = (
  "single_shot/cam_a/*.png and single_shot/cam_b/*.png named person_0001.png"
)


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images of `single_shot`; `multi_shot` is not looked at.

  Persons 1 to 200 were seen by both cameras. From 201 on the same number means
  somebody else in the other camera: pids "a0201" and "b0201".

  Args:
    root: folder that holds single_shot.
    options: none.

  Raises:
    UserError: if single_shot/cam_a or single_shot/cam_b is not there.
  """
  del options
  found, unknown = image_folders.scan(
    root, tuple(_CAMERAS), NAME, layout=_LAYOUT
  )
  items = []
  for image in found:
    pid, part = image.fields["pid"], image.folder.rpartition("/")[2]
    unique = pid if int(pid) <= NUM_SHARED else part.removeprefix("cam_") + pid
    camid = _CAMERAS[image.folder]
    items.append(Item(image.path, image.name, unique, camid, part))
  return Listing(
    root=root,
    items=tuple(items),
    expected=EXPECTED,
    missing=_missing(found),
    unknown=unknown,
  )


def _missing(found: list[image_folders.NamedImage]) -> tuple[str, ...]:
  """Gaps: numbers run on from 1 in both cameras, and from 201 in each."""
  numbers = {
    folder: {int(i.fields["pid"]) for i in found if i.folder == folder}
    for folder in _CAMERAS
  }
  every = set.union(*numbers.values())
  shared = max((n for n in every if n <= NUM_SHARED), default=0)
  missing = []
  for folder, have in numbers.items():
    last = max(have, default=0)
    wanted = {*range(1, shared + 1), *range(NUM_SHARED + 1, last + 1)}
    missing += [f"{folder}/person_{n:04d}.png" for n in sorted(wanted - have)]
  return tuple(missing)


PRID = PublicSet(
  name="prid",
  title="PRID 2011 (single-shot)",
  roots=("prid_2011", "prid2011/prid_2011", "prid2011", "PRID2011", "prid"),
  layout=_LAYOUT,
  request=(
    "from the download page of the Institute of Computer Graphics and Vision, "
    "Graz University of Technology"
  ),
  terms="Free for research, as far as known; read the page's own terms.",
  citation=(
    "M. Hirzer, C. Beleznai, P. M. Roth, H. Bischof: Person Re-Identification "
    "by Descriptive and Discriminative Classification, SCIA 2011"
  ),
  list_items=list_items,
  uses=(STANDARD, ALL),
  protocols=(METABIN, DUALNORM),
  make_splits=prid_splits.make_splits,
)
