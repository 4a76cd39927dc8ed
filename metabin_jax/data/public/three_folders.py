"""The layout of Market-1501 and those after it: a folder for each part."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from metabin_jax.data.public import image_folders
from metabin_jax.data.public.definition import PERSON, Item

FOLDERS: Mapping[str, str] = {
  "train": "bounding_box_train",
  "query": "query",
  "gallery": "bounding_box_test",
}
"""Part -> folder."""


class Label(NamedTuple):
  """What a file name tells."""

  pid: str
  camid: int
  role: str = PERSON


def list_parts(
  root: str,
  grammar: re.Pattern[str],
  label: Callable[[str, Mapping[str, str]], Label],
  *,
  layout: str,
  within: str = "",
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
  """Lists `bounding_box_train`, `query` and `bounding_box_test`.

  Args:
    root: folder of the data set.
    grammar: what a file name must match, with named groups.
    label: (part, groups) -> label.
    layout: what the data set looks like, for the message.
    within: the folder below `root` that holds the three; "" for `root`.

  Returns:
    (items, names of images that do not fit), both sorted by name; names are
    relative to `root`.

  Raises:
    UserError: if one of the three folders is missing or cannot be read.
  """
  parts = {
    f"{within}/{folder}" if within else folder: part
    for part, folder in FOLDERS.items()
  }
  images, unknown = image_folders.scan(root, [*parts], grammar, layout=layout)
  items = []
  for image in images:
    part = parts[image.folder]
    pid, camid, role = label(part, image.fields)
    items.append(Item(image.path, image.name, pid, camid, part, role))
  return tuple(items), unknown


def has_parts(root: str, within: str = "") -> bool:
  """Whether at least one of the three folders is there."""
  prefix = f"{within}/" if within else ""
  names = [f"{prefix}{folder}" for folder in FOLDERS.values()]
  return bool(image_folders.present(root, names))
