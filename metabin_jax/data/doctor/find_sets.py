"""Looks for the folders of public data sets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from metabin_jax.data import listing
from metabin_jax.data.public import pku_reid
from metabin_jax.data.public.definition import Count, PublicSet
from metabin_jax.errors import UserError

# Accepted names that anybody's folder may have: CUHK-SYSU's and PKU-Reid's.
_SYSU_NAME, _PKU_NAME = "dataset", "images"
_SYSU_FOLDERS = ("cropped_image", "cropped_images", "Image/SSM")


def locate(public: PublicSet, folders: Iterable[str]) -> str:
  """Finds the folder of a data set by its accepted names.

  Args:
    public: the set.
    folders: each holds the set's folder, or is it.

  Returns:
    Absolute path of the first that is there; "" if none is. Its content is not
    looked at, unless its name ("dataset", "images") says nothing.
  """
  for folder in folders:
    place = os.path.abspath(os.path.expanduser(folder))
    if is_root(public, place) and _may_be(place):
      return place
    for root in public.roots:
      inside = os.path.join(place, *root.split("/"))
      if os.path.isdir(inside) and _may_be(inside):
        return inside
  return ""


def is_root(public: PublicSet, folder: str) -> bool:
  """Whether a folder has one of the accepted names of a data set."""
  parts = os.path.abspath(folder).split(os.sep)
  return os.path.isdir(folder) and any(
    parts[-len(names) :] == names
    for names in (root.split("/") for root in public.roots)
  )


def _may_be(place: str) -> bool:
  """Looks at the first level of a folder whose name says nothing."""
  name = os.path.basename(place)
  if name == _SYSU_NAME:
    return any(
      os.path.isdir(os.path.join(place, *folder.split("/")))
      for folder in _SYSU_FOLDERS
    )
  if name == _PKU_NAME:
    try:
      files = listing.list_folder(place)[0]
    except UserError:  # it may not be read
      return False
    return any(pku_reid.GRAMMAR.fullmatch(file) for file in files)
  return True


def expected_counts(public: PublicSet) -> Mapping[str, Count]:
  """Published numbers of the default packaging, by group.

  Every parser keeps them as the constant `EXPECTED` of its module.
  """
  module = sys.modules[public.list_items.__module__]
  return getattr(module, "EXPECTED", {})
