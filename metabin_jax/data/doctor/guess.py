"""Guesses how a bare folder or file is to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping

from metabin_jax.data import folders, listing
from metabin_jax.data.doctor import find_sets
from metabin_jax.data.public import reading
from metabin_jax.data.public.definition import PublicSet
from metabin_jax.errors import UserError

_MANIFEST = "manifest.csv"


def guess_spec(place: str, public_sets: Mapping[str, PublicSet]) -> str:
  """Chooses a reader by names of files and folders.

  Args:
    place: an existing folder or file.
    public_sets: known sets by reader name.

  Returns:
    A description for `readers.open_dataset`: of a .csv file a manifest; of a
    folder with the accepted name of a public set and images that are named as
    in it, or that holds just one such folder, that set; then the manifest.csv
    in the folder, folders as in Market-1501, folders train, query and gallery,
    images side by side (market), a sub-folder for each person.

  Raises:
    UserError: if nothing fits, or several public sets do.
  """
  if not os.path.isdir(place):
    if os.path.isfile(place) and place.lower().endswith(".csv"):
      return f"manifest:{place}"
    if os.path.exists(place):
      raise UserError(
        f"{place} is neither a folder nor a .csv manifest; give one of these, "
        "or a description READER:PATH."
      )
    raise listing.missing_path(place, "folder")
  public = _guess_public(place, public_sets)
  if public:
    return f"{public}:{place}"
  if os.path.isfile(os.path.join(place, _MANIFEST)):
    return f"manifest:{os.path.join(place, _MANIFEST)}"
  images, inside, others = listing.list_folder(place)
  if {"bounding_box_train", "bounding_box_test"} & set(inside):
    return f"market:{place}"
  if set(folders.FOLDER_SPLITS) & set(inside):
    return f"folder:{place}"
  if images:
    return f"market:{place}"
  if any(listing.list_folder(os.path.join(place, f))[0] for f in inside):
    return f"folder:{place}"
  raise listing.no_images(
    place,
    others,
    "a sub-folder for each person, names such as 0001_c1s1_..., or a manifest "
    "(a .csv file)",
  )


def _guess_public(place: str, public_sets: Mapping[str, PublicSet]) -> str:
  own = [n for n, s in public_sets.items() if find_sets.is_root(s, place)]
  # The authors' name of one set may be a lesser name of another.
  own.sort(key=lambda name: not _is_first_name(public_sets[name], place))
  for name in own:
    # What the set's reader would take: "images" may lie in it.
    if _has_images(
      public_sets[name], reading.find_root(public_sets[name], place)
    ):
      return name
  held = {n: find_sets.locate(s, [place]) for n, s in public_sets.items()}
  held = {name: folder for name, folder in held.items() if folder}
  if len(held) > 1:
    raise UserError(
      f"{place} holds several public data sets; name one or more of them, for "
      f"example {next(iter(held))}:{place} ({', '.join(held)})."
    )
  for name, folder in held.items():
    if _has_images(public_sets[name], folder):
      return name
  return ""


def _is_first_name(public: PublicSet, place: str) -> bool:
  names = public.roots[0].split("/")
  return os.path.abspath(place).split(os.sep)[-len(names) :] == names


def _has_images(public: PublicSet, folder: str) -> bool:
  # "dataset" is an accepted name too: only the content can tell.
  options = {key: values[0] for key, values in public.options.items()}
  try:
    return bool(public.list_items(folder, options).items)
  except UserError:
    return False
