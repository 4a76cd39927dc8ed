"""Which public data sets are there, and whether they are complete."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from metabin_jax.data import protocols, readers
from metabin_jax.data.doctor import find_sets
from metabin_jax.data.public import counts, reading
from metabin_jax.data.public.definition import STANDARD, Count, PublicSet, tally
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Entry:
  """A public data set and its copy.

  Attributes:
    public: what is known of the set.
    folder: where its folder was found; "" if it was not.
    found: numbers of images and persons by group; None if not counted.
    fault: why the copy cannot be used, or how it differs from the published
      set; "" if it does not, or was not counted.
  """

  public: PublicSet
  folder: str
  found: dict[str, Count] | None = None
  fault: str = ""


@dataclasses.dataclass(frozen=True)
class Readiness:
  """Whether a protocol can be run.

  Attributes:
    protocol: the protocol.
    root: the folder that has most of its data sets; the first of several.
    missing: reader names that are not found there.
    withdrawn: reader names that need a licensed copy.
    faults: why data sets that were found cannot be used, if they were opened.
    opened: whether they were; else only their folders are known.
  """

  protocol: protocols.Protocol
  root: str
  missing: tuple[str, ...]
  withdrawn: tuple[str, ...]
  faults: tuple[str, ...] = ()
  opened: bool = False

  @property
  def runs(self) -> bool:
    """Whether nothing that was looked at stands in the way."""
    return not self.missing and not self.faults


def take_inventory(
  publics: Sequence[PublicSet],
  folders: Sequence[str],
  *,
  count: bool,
  licensed_copy: bool,
) -> list[Entry]:
  """Looks for data sets.

  Args:
    publics: the sets.
    folders: where to look.
    count: whether to read those that are found and compare their numbers with
      the published ones.
    licensed_copy: whether withdrawn sets may be read.

  Returns:
    An entry for each set, in order.
  """
  entries = []
  for public in publics:
    entry = Entry(public, find_sets.locate(public, folders))
    if count and entry.folder:
      entry = _counted(entry, licensed_copy)
    entries.append(entry)
  return entries


def _counted(entry: Entry, licensed_copy: bool) -> Entry:
  public = entry.public
  options = {}
  if public.withdrawn and licensed_copy:
    options[reading.LICENSED] = "yes"
  try:
    listing = reading.list_items(public, entry.folder, options)
    found = tally(listing.items)
    faults = counts.check_counts(public, listing, allow_partial=True)
  except UserError as error:
    return dataclasses.replace(entry, fault=str(error))
  return dataclasses.replace(entry, found=found, fault="; ".join(faults))


def check_protocol(
  name: str,
  folders: Sequence[str],
  publics: dict[str, PublicSet],
  *,
  open_sets: bool,
  licensed_copy: bool,
  allow_partial: bool = False,
) -> Readiness:
  """Says whether a protocol can be run.

  Args:
    name: of the protocol.
    folders: data roots; all of its data sets must lie in one of them.
    publics: known sets by reader name.
    open_sets: whether to read the data sets as a run would.
    licensed_copy: whether withdrawn sets may be read.
    allow_partial: whether sets that are not complete may be read.

  Raises:
    UserError: if there is no such protocol.
  """
  protocol = protocols.get_protocol(name)
  names = list(dict.fromkeys(protocol.sources + protocol.targets))

  def missing_in(folder: str) -> list[str]:
    return [
      n
      for n in names
      if n not in publics or not find_sets.locate(publics[n], [folder])
    ]

  root = min(folders, key=lambda folder: len(missing_in(folder)))
  missing = missing_in(root)
  faults = []
  if open_sets:
    sources, targets = protocols.specs(name, root)
    for spec in (*sources, *targets):
      if readers.parse_spec(spec).reader in missing:
        continue
      try:
        readers.open_dataset(_allowed(spec, licensed_copy, allow_partial))
      except UserError as error:
        faults.append(str(error))
  return Readiness(
    protocol=protocol,
    root=root,
    missing=tuple(missing),
    withdrawn=tuple(n for n in names if n in publics and publics[n].withdrawn),
    faults=tuple(dict.fromkeys(faults)),
    opened=open_sets,
  )


def split_specs(entries: Sequence[Entry]) -> list[str]:
  """Describes the tests of all sets that are found.

  Args:
    entries: from `take_inventory`.

  Returns:
    A description for each set and each of its kinds of split lists.
  """
  specs = []
  for entry in entries:
    public = entry.public
    if not entry.folder or STANDARD not in public.uses:
      continue
    spec = f"{public.name}:{entry.folder}?use={STANDARD}"
    if public.protocols:
      specs += [f"{spec}&protocol={name}" for name in public.protocols]
    elif "query" in find_sets.expected_counts(public):
      specs.append(spec)
  return specs


def open_test(
  spec: str, *, licensed_copy: bool, allow_partial: bool = False
) -> DataSet:
  """Opens a data set whose split lists are wanted.

  Raises:
    UserError: if it cannot be opened.
  """
  return readers.open_dataset(_allowed(spec, licensed_copy, allow_partial))


def _allowed(spec: str, licensed_copy: bool, allow_partial: bool) -> str:
  if licensed_copy:
    spec = readers.add_option(spec, reading.LICENSED, "yes")
  if allow_partial:
    spec = readers.add_option(spec, reading.PARTIAL, "allow")
  return spec


def entry_json(entry: Entry) -> dict[str, Any]:
  """All that is known of a set, as plain data for `json`."""
  public = entry.public
  expected = find_sets.expected_counts(public)
  return {
    "name": public.name,
    "title": public.title,
    "folder": entry.folder or None,
    "names": list(public.roots),
    "layout": public.layout,
    "request": public.request,
    "terms": public.terms,
    "citation": public.citation,
    "expected": {group: n._asdict() for group, n in expected.items()},
    "found": None
    if entry.found is None
    else {group: n._asdict() for group, n in entry.found.items()},
    "fault": entry.fault,
    "withdrawn": public.withdrawn,
    "overlaps": list(public.overlaps),
    "notes": list(public.notes),
    "options": {key: list(v) for key, v in public.options.items()},
    "uses": list(public.uses),
    "protocols": list(public.protocols),
  }


def readiness_json(readiness: Readiness) -> dict[str, Any]:
  """Whether a protocol can be run, as plain data for `json`."""
  protocol = readiness.protocol
  return {
    "name": protocol.name,
    "title": protocol.title,
    "description": protocol.description,
    "sources": list(protocol.sources),
    "targets": list(protocol.targets),
    "root": readiness.root,
    "runs": readiness.runs,
    "opened": readiness.opened,
    "missing": list(readiness.missing),
    "withdrawn": list(readiness.withdrawn),
    "faults": list(readiness.faults),
  }
