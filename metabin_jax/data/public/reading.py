"""From the files of a public data set to records and folds."""

from __future__ import annotations

import os
from collections.abc import Mapping

from metabin_jax.data import listing as folder_listing
from metabin_jax.data.public import counts
from metabin_jax.data.public.definition import (
  ALL,
  DISTRACTOR,
  JUNK,
  PERSON,
  STANDARD,
  TRAIN,
  FoldNames,
  Item,
  Listing,
  PublicSet,
  Splits,
)
from metabin_jax.data.records import DataSet, Fold, Provenance, Record
from metabin_jax.errors import UserError

PARTIAL = "partial"
LICENSED = "licensed_copy"
_FOLD_NAME = "test"


def keys(public: PublicSet) -> tuple[str, ...]:
  """Keys of a description besides `name` and `domain`."""
  found = ["use", *public.options, PARTIAL]
  if public.protocols:
    found += ["protocol", "splits"]
  if public.withdrawn:
    found.append(LICENSED)
  return tuple(found)


def find_root(public: PublicSet, location: str) -> str:
  """Finds the folder of a data set.

  Args:
    public: the set.
    location: its folder, or a folder that holds it under an accepted name.

  Returns:
    The first accepted name below `location` that exists, else `location`.

  Raises:
    UserError: if `location` is no folder.
  """
  if not os.path.isdir(location):
    raise folder_listing.missing_path(location, "folder")
  for root in public.roots:
    inside = os.path.join(location, *root.split("/"))
    if os.path.isdir(inside):
      return inside
  return location


def read_public(
  public: PublicSet,
  location: str,
  *,
  name: str,
  options: Mapping[str, str],
) -> DataSet:
  """Reads a public data set.

  Args:
    public: the set.
    location: as for `find_root`.
    name: data set name: its only domain, and the prefix of its pids.
    options: chosen values of `keys`.

  Returns:
    The data set; junk is left out, distractors are in galleries only.

  Raises:
    UserError: for a wrong option, a missing layout, wrong counts without
      `partial=allow`, or a withdrawn set without `licensed_copy=yes`.
  """
  found = list_items(public, location, options)
  return dataset_from_listing(public, found, name=name, options=options)


def dataset_from_listing(
  public: PublicSet,
  found: Listing,
  *,
  name: str,
  options: Mapping[str, str],
) -> DataSet:
  """Makes the data set of a listing, wherever its images lie.

  Args:
    public: the set.
    found: its images.
    name: data set name: its only domain, and the prefix of its pids.
    options: chosen values of `keys`.

  Returns:
    The data set; junk is left out, distractors are in galleries only.

  Raises:
    UserError: for a wrong option, wrong counts without `partial=allow`, a
      withdrawn set without `licensed_copy=yes`, or if the set has no image for
      the chosen use.
  """
  chosen = choose(public, options)
  _require_licence(public, chosen)
  notes = list(public.notes)
  if public.withdrawn:
    notes.append(public.withdrawn)
  partial = chosen[PARTIAL] == "allow"
  notes += counts.check_counts(public, found, allow_partial=partial)
  use = chosen["use"]
  train = _records(name, trained_items(found, use), (PERSON,))
  folds: tuple[Fold, ...] = ()
  splits = Splits("", "", ())
  if use == STANDARD:
    splits = _splits(public, found, chosen)
    asked = options.get("protocol", splits.protocol)
    if splits.protocol != asked:
      raise UserError(
        f"protocol={asked} of {name} was asked for, but the split lists "
        f"{chosen['splits']} are of protocol {splits.protocol}; leave one of "
        "protocol and splits out."
      )
    lost = _lost(found, splits)
    if lost and not partial:
      raise UserError(
        f"the split lists of {name} ({splits.origin}) name {len(lost)} images "
        f"that are not in {found.root}, first {lost[0]}; complete the folder, "
        "or add partial=allow (--allow-partial)."
      )
    if lost:
      notes.append(
        f"{name} is partial: {len(lost)} images of its split lists are missing"
      )
    folds = _folds(name, found, splits)
  if not train and not folds:
    raise _nothing_to_use(public, found, use)
  provenance = Provenance(
    public=public.name,
    variant=found.variant,
    protocol=splits.protocol,
    origin=splits.origin,
    notes=tuple(notes),
  )
  return DataSet(name, train, folds, provenance)


def list_items(
  public: PublicSet, location: str, options: Mapping[str, str]
) -> Listing:
  """Lists the files of a public data set without judging their number.

  Args:
    public: the set.
    location: as for `find_root`.
    options: chosen values of `keys`.

  Returns:
    The listing, its items sorted by name.

  Raises:
    UserError: for a wrong option, a missing layout, a name that occurs twice,
      or a withdrawn set without `licensed_copy=yes`.
  """
  chosen = choose(public, options)
  _require_licence(public, chosen)
  root = find_root(public, location)
  own = {key: chosen[key] for key in public.options}
  found = public.list_items(root, own)
  names = [item.name for item in found.items]
  if names != sorted(set(names)):
    raise ValueError(f"items of {public.name} are not sorted and unique.")
  return found


def choose(public: PublicSet, options: Mapping[str, str]) -> dict[str, str]:
  """Fills in defaults and checks values.

  Args:
    public: the set.
    options: chosen values of `keys`.

  Returns:
    A value for every key of `keys`; "" for `splits` if not given.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  allowed: dict[str, tuple[str, ...]] = {
    "use": public.uses,
    **public.options,
    PARTIAL: ("no", "allow"),
    LICENSED: ("no", "yes"),
  }
  if public.protocols:
    allowed["protocol"] = public.protocols
  chosen = {key: values[0] for key, values in allowed.items()}
  chosen["splits"] = ""
  for key, value in options.items():
    if key in allowed and value not in allowed[key]:
      raise UserError(
        f"{key}={value} is unknown for {public.name}; choose one of "
        f"{', '.join(allowed[key])}."
      )
    chosen[key] = value
  return chosen


def trained_items(found: Listing, use: str) -> tuple[Item, ...]:
  """Images of persons that are training data.

  Args:
    found: the images of a set.
    use: `STANDARD`, `ALL` or `TRAIN`.

  Returns:
    Items in the order of the listing; no junk, no distractors.
  """
  return tuple(
    item
    for item in found.items
    if item.role == PERSON and (use == ALL or item.part == "train")
  )


def _nothing_to_use(public: PublicSet, found: Listing, use: str) -> UserError:
  want = (
    "train part" if use == TRAIN else "train part, and no query and gallery"
  )
  mend = "; or add use=all to train on all its images" * (ALL in public.uses)
  return UserError(
    f"{public.name} in {found.root} has no {want}, so use={use} finds nothing; "
    f"want {public.layout}{mend}."
  )


def _require_licence(public: PublicSet, chosen: Mapping[str, str]) -> None:
  if public.withdrawn and chosen[LICENSED] != "yes":
    raise UserError(
      f"{public.withdrawn} If you hold a licensed copy, add "
      f"{LICENSED}=yes (--i-have-a-licensed-copy)."
    )


def _part(found: Listing, part: str) -> tuple[Item, ...]:
  return tuple(item for item in found.items if item.part == part)


def _splits(
  public: PublicSet, found: Listing, chosen: Mapping[str, str]
) -> Splits:
  if public.make_splits is not None:
    place = os.path.expanduser(chosen["splits"])
    return public.make_splits(found, chosen["protocol"], place)
  query, gallery = _part(found, "query"), _part(found, "gallery")
  if not query or not gallery:
    return Splits("", "", ())
  fold = (
    _FOLD_NAME,
    tuple(item.name for item in query if item.role == PERSON),
    tuple(item.name for item in gallery if item.role != JUNK),
  )
  return Splits(STANDARD, "the data set's own parts", (FoldNames(*fold),))


def _lost(found: Listing, splits: Splits) -> list[str]:
  """Names in the split lists of images that are not there."""
  there = {item.name for item in found.items}
  wanted = [n for fold in splits.folds for n in fold.query + fold.gallery]
  return sorted(set(wanted) - there)


def _folds(name: str, found: Listing, splits: Splits) -> tuple[Fold, ...]:
  by_name = {item.name: item for item in found.items}

  def records(names: tuple[str, ...]) -> tuple[Record, ...]:
    items = tuple(by_name[n] for n in names if n in by_name)
    return _records(name, items, (PERSON, DISTRACTOR))

  return tuple(
    Fold(fold.name, records(fold.query), records(fold.gallery))
    for fold in splits.folds
  )


def _records(
  name: str, items: tuple[Item, ...], roles: tuple[str, ...]
) -> tuple[Record, ...]:
  return tuple(
    Record(item.path, f"{name}/{item.pid}", item.camid, name)
    for item in items
    if item.role in roles
  )
