"""Split lists as artefacts: their digest, and a file of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from metabin_jax.data.records import DataSet, Fold, Record

FORMAT = "metabin-splits-1"


def split_digest(dataset: DataSet) -> str:
  """SHA-256 of who is asked for and who may answer.

  Args:
    dataset: with folds.

  Returns:
    64 hexadecimal digits over the folds in order: the name of each and, for
    each of its images, base name, person without the data set's name, and
    camera. The same on every machine, whatever the folder and the order of the
    images.
  """
  return lists_digest(_lists(dataset))


def lists_digest(folds: Sequence[tuple[str, list, list]]) -> str:
  """The same of plain lists: (name of the fold, query rows, gallery rows)."""
  text = json.dumps(folds, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()


def to_json(dataset: DataSet) -> dict[str, Any]:
  """The split lists as plain data, for `json`.

  Args:
    dataset: with folds.

  Returns:
    {"format", "dataset", "protocol", "origin", "sha256", "folds": [{"name",
    "query": [[base name, person, camera]], "gallery": [...]}]}.
  """
  return {
    "format": FORMAT,
    "dataset": dataset.provenance.public or dataset.name,
    "protocol": dataset.provenance.protocol,
    "origin": dataset.provenance.origin,
    "sha256": split_digest(dataset),
    "folds": [
      {"name": name, "query": query, "gallery": gallery}
      for name, query, gallery in _lists(dataset)
    ],
  }


def _lists(dataset: DataSet) -> list[tuple[str, list, list]]:
  return [
    (fold.name, _rows(dataset, fold.query), _rows(dataset, fold.gallery))
    for fold in dataset.folds
  ]


def _rows(
  dataset: DataSet, records: tuple[Record, ...]
) -> list[tuple[str, str, int]]:
  prefix = f"{dataset.name}/"
  return sorted(
    (os.path.basename(r.path), r.pid.removeprefix(prefix), r.camid)
    for r in records
  )


def same_split(first: Fold, second: Fold) -> bool:
  """Whether two folds ask the same queries of the same gallery."""
  return set(first.query) == set(second.query) and set(first.gallery) == set(
    second.gallery
  )
