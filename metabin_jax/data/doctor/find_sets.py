"""Looks for the folders of public data sets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from metabin_jax.data.public.definition import Count, PublicSet


def locate(public: PublicSet, folders: Iterable[str]) -> str:
  """Finds the folder of a data set by its accepted names.

  Args:
    public: the set.
    folders: each holds the set's folder, or is it.

  Returns:
    Absolute path of the first that is there; "" if none is. Its content is not
    looked at.
  """
  for folder in folders:
    place = os.path.abspath(os.path.expanduser(folder))
    if is_root(public, place):
      return place
    for root in public.roots:
      inside = os.path.join(place, *root.split("/"))
      if os.path.isdir(inside):
        return inside
  return ""


def is_root(public: PublicSet, folder: str) -> bool:
  """Whether a folder has one of the accepted names of a data set."""
  parts = os.path.abspath(folder).split(os.sep)
  return os.path.isdir(folder) and any(
    parts[-len(names) :] == names
    for names in (root.split("/") for root in public.roots)
  )


def expected_counts(public: PublicSet) -> Mapping[str, Count]:
  """Published numbers of the default packaging, by group.

  Every parser keeps them as the constant `EXPECTED` of its module.
  """
  module = sys.modules[public.list_items.__module__]
  return getattr(module, "EXPECTED", {})
