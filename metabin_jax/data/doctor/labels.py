"""Finds mistakes that the labels alone show: no file is opened."""

from __future__ import annotations

import collections
import os
from collections.abc import Sequence

from metabin_jax.data import listing
from metabin_jax.data.doctor.files import all_records
from metabin_jax.data.doctor.findings import NOTE, PROBLEM, Finding
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.data.records import DataSet

_REFUSED = "a run refuses it without --allow-partial"


def find_shared_persons(dataset: DataSet) -> list[Finding]:
  """Finds persons that are trained on and tested on."""
  trained = {record.pid for record in dataset.train}
  tested = {r.pid for f in dataset.folds for r in (*f.query, *f.gallery)}
  shared = tuple((pid,) for pid in sorted(trained & tested))
  if not shared:
    return []
  text = (
    f"{len(shared)} of {len(trained)} persons of the train part are in its "
    "test too; scores on them say nothing about unseen persons"
  )
  return [Finding(PROBLEM, "train_and_test", dataset.name, text, shared)]


def find_equal_folds(dataset: DataSet) -> list[Finding]:
  """Finds folds that ask the same queries of the same gallery."""
  groups: dict[object, list[str]] = {}
  for fold in dataset.folds:
    key = frozenset(fold.query), frozenset(fold.gallery)
    groups.setdefault(key, []).append(fold.name)
  equal = tuple(tuple(names) for names in groups.values() if len(names) > 1)
  if not equal:
    return []
  text = (
    f"{sum(map(len, equal))} of {len(dataset.folds)} folds are not different "
    "from each other, so their mean would count one split several times"
  )
  return [Finding(PROBLEM, "equal_folds", dataset.name, text, equal)]


def find_remarks(dataset: DataSet) -> list[Finding]:
  """Turns what the reader has said about the data set into findings.

  What is known of a public set is a note; what was found about this copy (it is
  not complete) is a problem.
  """
  public = PUBLIC_SETS.get(dataset.provenance.public)
  known = {*public.notes, public.withdrawn} if public else set()
  return [
    Finding(NOTE, "public_set", dataset.name, text.rstrip("."))
    if text in known
    else Finding(PROBLEM, "partial", dataset.name, f"{text}; {_REFUSED}")
    for text in dataset.provenance.notes
  ]


def find_unused(dataset: DataSet, folder: str) -> list[Finding]:
  """Counts image files below a folder that no part of the data set has.

  Args:
    dataset: what was read.
    folder: where it was read.

  Returns:
    No finding or one; each case is a sub-folder and its number of such files.
  """
  used = {record.path for record in all_records(dataset)}
  unused: collections.Counter[str] = collections.Counter()
  for place, folders, names in os.walk(folder):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    inside = os.path.relpath(place, folder).split(os.sep)[0]
    unused[inside] += sum(
      listing.is_image_name(name) and os.path.join(place, name) not in used
      for name in names
    )
  cases = tuple((k, f"{n} files") for k, n in sorted(unused.items()) if n)
  if not cases:
    return []
  text = (
    f"{unused.total()} image files below {folder} are in no part (junk, "
    "distractors, or folders that are not read)"
  )
  return [Finding(NOTE, "unused", dataset.name, text, cases)]


def find_all(datasets: Sequence[DataSet]) -> list[Finding]:
  """Everything but unused files, data set by data set."""
  return [
    finding
    for dataset in datasets
    for find in (find_remarks, find_shared_persons, find_equal_folds)
    for finding in find(dataset)
  ]
