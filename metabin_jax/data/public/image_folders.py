"""Images in folders of known names, with names of a known form."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from metabin_jax.data import listing
from metabin_jax.errors import UserError


class NamedImage(NamedTuple):
  """An image whose name fits.

  Attributes:
    path: absolute path.
    name: "<folder>/<file name>".
    folder: the folder as asked for.
    fields: groups of the expression.
  """

  path: str
  name: str
  folder: str
  fields: dict[str, str]


def scan(
  root: str, folders: Sequence[str], grammar: re.Pattern[str], *, layout: str
) -> tuple[list[NamedImage], tuple[str, ...]]:
  """Lists the images of some folders.

  Args:
    root: folder of the data set.
    folders: paths below it, "/" between parts; all of them must be there.
    grammar: what a file name must match, with named groups.
    layout: what the data set looks like, for the message.

  Returns:
    (images whose names fit, names of other images), both sorted by name. Hidden
    files and files that are no images are in neither.

  Raises:
    UserError: if a folder is not there or cannot be read.
  """
  root = os.path.abspath(root)
  fitting: list[NamedImage] = []
  others: list[str] = []
  for folder in folders:
    place = os.path.join(root, *folder.split("/"))
    if not os.path.isdir(place):
      raise missing_layout(root, [folder], layout)
    for file in listing.list_folder(place)[0]:
      found = grammar.fullmatch(file)
      name = f"{folder}/{file}"
      if found is None:
        others.append(name)
      else:
        path = os.path.join(place, file)
        fitting.append(NamedImage(path, name, folder, found.groupdict()))
  return sorted(fitting, key=lambda image: image.name), tuple(sorted(others))


def present(root: str, folders: Sequence[str]) -> tuple[str, ...]:
  """Those of some folders below `root` that are there."""
  return tuple(
    folder
    for folder in folders
    if os.path.isdir(os.path.join(root, *folder.split("/")))
  )


def missing_layout(root: str, wanted: Sequence[str], layout: str) -> UserError:
  """Makes the error for a folder that is not laid out as the data set is.

  Args:
    root: folder that was looked into.
    wanted: names of what was looked for there.
    layout: what the data set looks like.
  """
  images, folders, others = listing.list_folder(root)
  found = f"{len(images) + others} files" if images or others else "no file"
  if folders:
    shown = ", ".join(folders[:5]) + (", ..." if len(folders) > 5 else "")
    found = f"the folders {shown} and {found}"
  return UserError(
    f"{root} has no folder {' or '.join(wanted)}, it has {found}; want "
    f"{layout}."
  )
