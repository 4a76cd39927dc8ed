"""QMUL i-LIDS: images of persons in an airport hall."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metabin_jax.data.public import ilids_splits, image_folders
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.public.split_files import DUALNORM, METABIN
from metabin_jax.errors import UserError

NAME = re.compile(r"(?P<pid>\d{4})(?P<index>\d{3})\.jpg")
"""Person and running number of the image of this person."""

EXPECTED = {"images": Count(476, 119)}

# MetaBIN's and DualNorm's name, then that of the authors' archive.
_FOLDERS = ("images", "Persons")
_LAYOUT = "images/*.jpg (or Persons/*.jpg) named 0001001.jpg"


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images.

  The real cameras are not known. The running number of the image takes their
  place as the published loaders have it, so that no two images of a person
  count as of one camera and nothing is left out of a gallery.

  Args:
    root: folder with images or Persons.
    options: none.

  Raises:
    UserError: if neither is there, or both are.
  """
  del options
  folders = image_folders.present(root, _FOLDERS)
  if len(folders) > 1:
    raise UserError(
      f"{root} has the folders {' and '.join(folders)}, and either may hold "
      "the images; move one of them away."
    )
  if not folders:
    raise image_folders.missing_layout(root, _FOLDERS, _LAYOUT)
  found, unknown = image_folders.scan(root, folders, NAME, layout=_LAYOUT)
  items = tuple(
    Item(
      image.path,
      image.name,
      image.fields["pid"],
      int(image.fields["index"]),
      "images",
    )
    for image in found
  )
  return Listing(root=root, items=items, expected=EXPECTED, unknown=unknown)


ILIDS = PublicSet(
  name="ilids",
  title="QMUL i-LIDS",
  roots=(
    "QMUL-iLIDS",
    "QMUL_iLIDS",
    "ilids/i-LIDS_Pedestrian",
    "i-LIDS_Pedestrian",
    "ilids",
  ),
  layout=_LAYOUT,
  request=(
    "was offered by Queen Mary University of London (archive "
    "i-LIDS_Pedestrian); the address no longer answers"
  ),
  terms=(
    "The footage belongs to the i-LIDS programme of the UK Home Office; "
    "research licence."
  ),
  citation=(
    "W.-S. Zheng, S. Gong, T. Xiang: Associating Groups of People, BMVC 2009"
  ),
  list_items=list_items,
  uses=(STANDARD, ALL),
  protocols=(METABIN, DUALNORM),
  make_splits=ilids_splits.make_splits,
)
