"""The files of a gallery index: segments of rows, and what belongs to each row.

A segment is `<number>.vectors` (rows one behind the other, little-endian) and
`<number>.json` (names, persons, cameras).
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation.embedding_file import Embeddings

_OWN_NAMES = re.compile(r"\d{6,}\.(vectors|json)|removed-\d{6,}\.npy")


class Labels(NamedTuple):
  """Of the rows of a gallery, in order."""

  names: list[str]
  pids: list[str]
  camids: list[int]

  def take(self, rows: Iterable[int]) -> Labels:
    """Those of some rows."""
    rows = list(rows)
    return Labels(
      [self.names[row] for row in rows],
      [self.pids[row] for row in rows],
      [self.camids[row] for row in rows],
    )

  def extend(self, more: Labels) -> None:
    """Adds those of further rows, in place."""
    self.names.extend(more.names)
    self.pids.extend(more.pids)
    self.camids.extend(more.camids)


def labels_of(embeddings: Embeddings) -> Labels:
  """The labels of some embeddings.

  Raises:
    UserError: unless there is one of each for every row.
  """
  names, vectors, pids, camids, _ = embeddings
  labels = Labels(list(names), list(pids), np.asarray(camids).tolist())
  counts = {
    "names": len(labels.names),
    "persons": len(labels.pids),
    "cameras": len(labels.camids),
  }
  if set(counts.values()) != {len(vectors)}:
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    raise UserError(
      f"{len(vectors)} embeddings come with {said}; give one of each for every "
      "embedding."
    )
  return labels


def delete_others(folder: pathlib.Path, named: Collection[str]) -> None:
  """Deletes files of an index that it does not name; foreign files stay."""
  for entry in folder.iterdir():
    if _OWN_NAMES.fullmatch(entry.name) and entry.name not in named:
      entry.unlink(missing_ok=True)


def write_segment(
  folder: pathlib.Path, name: str, rows: Iterable[np.ndarray], labels: Labels
) -> None:
  """Writes a segment, and returns when it is on the disk.

  Args:
    folder: of the index.
    name: of the segment; nothing may name it yet.
    rows: its rows, in pieces [n, D] of the index's dtype.
    labels: of all its rows.
  """
  with open(folder / f"{name}.vectors", "wb") as file:
    for piece in rows:
      file.write(np.ascontiguousarray(piece).data)
    _flush(file)
  with open(folder / f"{name}.json", "w", encoding="utf-8") as text:
    json.dump(labels._asdict(), text)
    _flush(text)


def read_labels(folder: pathlib.Path, name: str, rows: int) -> Labels:
  """Reads the labels of a segment.

  Raises:
    ValueError: if they are not those of `rows` rows.
    OSError: if the file cannot be read.
  """
  path = folder / f"{name}.json"
  labels = Labels(**json.loads(path.read_bytes()))
  if {len(field) for field in labels} != {rows}:
    raise ValueError(f"{path.name} has another number of images")
  return labels


def read_rows(
  folder: pathlib.Path, name: str, rows: int, dim: int, dtype: Any, most: int
) -> Iterator[np.ndarray]:
  """The rows of a segment in pieces of at most `most`.

  Raises:
    UserError: if the file is missing or too short.
  """
  path = folder / f"{name}.vectors"
  if not path.exists():
    raise UserError(
      f"{path} is missing; if another process has just compacted the index, "
      "search again, else make the index anew."
    )
  with open(path, "rb") as file:
    for first in range(0, rows, most):
      count = min(most, rows - first)
      piece = np.fromfile(file, dtype, count * dim)
      if piece.size != count * dim:
        raise damaged(folder, f"{path.name} is too short")
      yield piece.reshape(count, dim)


def write_removed(folder: pathlib.Path, name: str, rows: np.ndarray) -> None:
  """Writes the numbers of removed rows."""
  with open(folder / name, "wb") as file:
    np.save(file, rows)
    _flush(file)


def damaged(folder: pathlib.Path, reason: str) -> UserError:
  """What to tell a user whose index cannot be read."""
  return UserError(
    f"the index {folder} is damaged ({reason}); make it anew from the files of "
    "`metabin extract`."
  )


def _flush(file: Any) -> None:
  """To the disk, before anything names the file."""
  file.flush()
  os.fsync(file.fileno())
