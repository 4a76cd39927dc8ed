"""Sets what is known of public data sets as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metabin_jax.data.doctor import find_sets
from metabin_jax.data.doctor.inventory import Entry, Readiness
from metabin_jax.data.doctor.layout import set_table, wrap
from metabin_jax.data.public.definition import Count

_NUM_NAMES = 2


def format_entries(entries: Sequence[Entry], folders: Sequence[str]) -> str:
  """A line for each set, then what is wrong with copies, then withdrawals.

  Args:
    entries: from `inventory.take_inventory`.
    folders: where they were looked for.
  """
  rows = [["set", "there", "folder, or the names looked for"]]
  for entry in entries:
    names = entry.public.roots
    looked = ", ".join(names[:_NUM_NAMES])
    more = ", ..." if len(names) > _NUM_NAMES else ""
    there = "folder" if entry.folder else "no"
    if entry.fault:
      there = "unread" if entry.found is None else "differs"
    elif entry.found is not None:
      there = "complete"
    rows.append([entry.public.name, there, entry.folder or looked + more])
  lines = [f"public data sets below {', '.join(folders)}", *set_table(rows)]
  for entry in entries:
    if entry.fault:
      lines += wrap(f"{entry.public.name}: {entry.fault}", "* ")
  for entry in entries:
    if entry.public.withdrawn:
      lines += wrap(entry.public.withdrawn, "* ")
  lines.append(
    "`metabin datasets --about=NAME` says where a set is requested, on what "
    "terms, and its layout."
  )
  return "\n".join(lines)


def format_entry(entry: Entry) -> str:
  """All that is known of one set."""
  public = entry.public
  lines = [f"{public.title} ({public.name})"]
  if public.withdrawn:
    lines += wrap(public.withdrawn)
  lines += wrap(f"folder: {entry.folder or 'not found'}")
  lines += wrap(f"accepted names: {', '.join(public.roots)}")
  lines += wrap(f"layout: {public.layout}")
  lines += wrap(f"request: {public.request}")
  lines += wrap(f"terms: {public.terms}")
  lines += wrap(f"cite: {public.citation}")
  expected = find_sets.expected_counts(public)
  if expected:
    lines += wrap(f"published counts: {_counts(expected)}")
  if entry.found is not None:
    lines += wrap(f"found: {_counts(entry.found)}")
  if entry.fault:
    lines += wrap(f"fault: {entry.fault}")
  lines += wrap(f"use: {', '.join(public.uses)}")
  for key, values in public.options.items():
    lines += wrap(f"{key}: {', '.join(values)}")
  if public.protocols:
    lines += wrap(f"protocol: {', '.join(public.protocols)}")
  if public.overlaps:
    lines += wrap(f"same persons as: {', '.join(public.overlaps)}")
  for note in public.notes:
    lines += wrap(f"note: {note}")
  return "\n".join(lines)


def _counts(groups: Mapping[str, Count]) -> str:
  return "; ".join(
    f"{group} {count.images:,} images of {count.pids:,} persons"
    for group, count in groups.items()
  )


def format_readiness(readiness: Readiness, entries: Sequence[Entry]) -> str:
  """Whether a protocol can be run, and what to do where it cannot.

  Args:
    readiness: from `inventory.check_protocol`.
    entries: the protocol's sets.
  """
  protocol = readiness.protocol
  lines = [f"protocol {protocol.name}: {protocol.title}"]
  lines += wrap(protocol.description)
  lines += wrap(f"train on: {', '.join(protocol.train)}")
  lines += wrap(f"test on: {', '.join(protocol.test)}")
  for fault in readiness.faults:
    lines += wrap(fault, "* ")
  requests = {entry.public.name: entry.public.request for entry in entries}
  for name in readiness.missing:
    request = requests.get(name, "no data set of this name is known")
    lines += wrap(f"{name} is missing; request: {request}", "* ")
  if readiness.withdrawn:
    lines += wrap(
      f"needs --i-have-a-licensed-copy: {', '.join(readiness.withdrawn)}"
    )
  if readiness.runs and not readiness.opened:
    lines.append(
      f"{protocol.name}: all folders are there in {readiness.root}; --count "
      "looks inside"
    )
  else:
    verdict = "can be run" if readiness.runs else "cannot be run"
    lines.append(f"{protocol.name} {verdict} with the data in {readiness.root}")
  return "\n".join(lines)
