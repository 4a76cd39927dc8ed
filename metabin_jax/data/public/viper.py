"""VIPeR: two cameras outdoors, one image of each person in each."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metabin_jax.data.public import image_folders, viper_splits
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.public.split_files import DUALNORM, METABIN
from metabin_jax.data.public.viper_splits import CAMERAS

NAME = re.compile(r"(?P<pid>\d{3})_(?P<angle>\d{1,3})\.bmp")
"""Person (numbers have gaps) and direction of view in degrees."""

EXPECTED = {"cam_a": Count(632, 632), "cam_b": Count(632, 632)}

_LAYOUT = (
  "cam_a/*.bmp and cam_b/*.bmp named 000_45.bmp, or MetaBIN's folders "
  "split_1a/{train,query,gallery}/*.png"
)


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images.

  Args:
    root: folder with cam_a and cam_b; if it has neither, with MetaBIN's folders
      split_1a, split_2a, ..., of which the first holds every image once
      (variant "split folders", converted to PNG).
    options: none.

  Raises:
    UserError: if neither is there.
  """
  del options
  folders = image_folders.present(root, tuple(CAMERAS))
  splits = viper_splits.split_folders(root)
  if not folders and splits:
    found, unknown = image_folders.scan(
      root,
      [f"{splits[0]}/{part}" for part in ("train", "query", "gallery")],
      viper_splits.NAME,
      layout=_LAYOUT,
    )
    items = [
      _item(image, viper_splits.PARTS[image.fields["cam"]]) for image in found
    ]
  else:
    found, unknown = image_folders.scan(
      root, tuple(CAMERAS), NAME, layout=_LAYOUT
    )
    items = [_item(image, image.folder) for image in found]
  return Listing(
    root=root,
    items=tuple(items),
    expected=EXPECTED,
    variant="" if folders else "split folders",
    missing=_missing(items),
    unknown=unknown,
  )


def _item(image: image_folders.NamedImage, part: str) -> Item:
  return Item(image.path, image.name, image.fields["pid"], CAMERAS[part], part)


def _missing(items: list[Item]) -> tuple[str, ...]:
  """Who was seen by one camera was seen by the other one."""
  seen = {part: {i.pid for i in items if i.part == part} for part in CAMERAS}
  every = set.union(*seen.values())
  return tuple(
    f"{part}: person {pid}"
    for part, pids in seen.items()
    for pid in sorted(every - pids)
  )


VIPER = PublicSet(
  name="viper",
  title="VIPeR",
  roots=("VIPeR", "viper/VIPeR", "viper"),
  layout=_LAYOUT,
  request=(
    "was offered by the Vision Research Lab of the University of California, "
    "Santa Cruz; the address no longer answers"
  ),
  terms="It was free to download for research; no licence text is known to us.",
  citation=(
    "D. Gray, S. Brennan, H. Tao: Evaluating Appearance Models for "
    "Recognition, Reacquisition, and Tracking, PETS 2007"
  ),
  list_items=list_items,
  uses=(STANDARD, ALL),
  protocols=(METABIN, DUALNORM),
  make_splits=viper_splits.make_splits,
)
