"""Which files of a folder are images, in an order that never changes."""

from __future__ import annotations

import os

from metabin_jax.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def is_image_name(name: str) -> bool:
  """Whether a file name counts as an image.

  Hidden files do not: macOS leaves "._x.jpg" beside "x.jpg", not an image.
  """
  return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def missing_path(path: str, what: str) -> UserError:
  """Makes the error for a path that is not there.

  Args:
    path: the path as looked for.
    what: "folder" or "file", for the message.

  Returns:
    A UserError that names the nearest parent that does exist.
  """
  if os.path.exists(path):
    return UserError(f"{path} is not a {what}; give the path of a {what}.")
  parent = os.path.dirname(os.path.abspath(path))
  while not os.path.isdir(parent) and parent != os.path.dirname(parent):
    parent = os.path.dirname(parent)
  return UserError(
    f"{what} {path} does not exist (the nearest folder that does is {parent}); "
    "check the spelling."
  )


def list_folder(folder: str) -> tuple[list[str], list[str], int]:
  """Lists a folder, sorted by code point.

  Args:
    folder: a path.

  Returns:
    (names of images, names of visible sub-folders, number of other files).

  Raises:
    UserError: if the folder does not exist or may not be read.
  """
  if not os.path.isdir(folder):
    raise missing_path(folder, "folder")
  images: list[str] = []
  folders: list[str] = []
  others = 0
  try:
    with os.scandir(folder) as entries:
      for entry in entries:
        if entry.is_dir():
          if not entry.name.startswith("."):
            folders.append(entry.name)
        elif is_image_name(entry.name):
          images.append(entry.name)
        else:
          others += 1
  except OSError as error:
    raise UserError(
      f"folder {folder} cannot be read ({error.strerror}); check its "
      "permissions."
    ) from error
  return sorted(images), sorted(folders), others


def no_images(folder: str, others: int, want: str) -> UserError:
  """Makes the error for a folder without images.

  Args:
    folder: where images were looked for.
    others: how many files of other kinds were found there.
    want: the layout that was expected.
  """
  kinds = " ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
  return UserError(
    f"no image in {folder} ({others} other files ignored; images end in "
    f"{kinds}); want {want}."
  )
