"""What a prepared TFDS data set says of itself besides its examples.

It has all that the rules for a public data set need once the user's folder is
out of reach: what was expected, what was missing, and the split lists, which
may come from files in that folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from metabin_jax.data.public.definition import (
  Count,
  FoldNames,
  Item,
  Listing,
  PublicSet,
  Splits,
)
from metabin_jax.errors import UserError


def to_metadata(public: PublicSet, listing: Listing) -> dict[str, Any]:
  """Describes a listing as plain data, for `json`.

  Args:
    public: the set.
    listing: its images.

  Returns:
    {"public", "variant", "expected", "missing", "unknown", "splits"}; public is
    the name of the set, splits has those of its protocols that can be made of
    these images.
  """
  splits = {}
  for protocol in public.protocols:
    if public.make_splits is None:
      continue
    try:
      made = public.make_splits(listing, protocol, "")
    except UserError:
      # Whoever asks for this protocol gets the same error then.
      continue
    splits[protocol] = {
      "protocol": made.protocol,
      "origin": made.origin,
      "folds": [list(fold) for fold in made.folds],
    }
  return {
    "public": public.name,
    "variant": listing.variant,
    "expected": {group: list(n) for group, n in listing.expected.items()},
    "missing": list(listing.missing),
    "unknown": list(listing.unknown),
    "splits": splits,
  }


def to_listing(
  metadata: Mapping[str, Any], items: Sequence[Item], root: str
) -> Listing:
  """Makes the listing that `to_metadata` was given, with images elsewhere.

  Args:
    metadata: from `to_metadata`.
    items: the images, in any order.
    root: folder to name in messages.

  Returns:
    The listing.
  """
  expected = metadata["expected"].items()
  return Listing(
    root=root,
    items=tuple(sorted(items, key=lambda item: item.name)),
    expected={group: Count(*numbers) for group, numbers in expected},
    variant=metadata["variant"],
    missing=tuple(metadata["missing"]),
    unknown=tuple(metadata["unknown"]),
  )


def with_stored_splits(
  public: PublicSet, metadata: Mapping[str, Any]
) -> PublicSet:
  """Returns the set with the stored split lists instead of those on disk.

  Args:
    public: the set.
    metadata: from `to_metadata`.

  Returns:
    A set whose `make_splits` still makes new lists if it is given a place, or
    a protocol that is not stored.
  """
  make = public.make_splits
  stored = metadata["splits"]
  if make is None:
    return public

  def make_splits(listing: Listing, protocol: str, place: str) -> Splits:
    if place or protocol not in stored:
      return make(listing, protocol, place)
    found = stored[protocol]
    folds = tuple(
      FoldNames(name, tuple(query), tuple(gallery))
      for name, query, gallery in found["folds"]
    )
    return Splits(found["protocol"], found["origin"], folds)

  return dataclasses.replace(public, make_splits=make_splits)
