"""A gallery on disk: embeddings to search in, that grows without a rewrite.

`index.json` names the segments (gallery_files.py) in order, and the file of
removed rows. Files are written first and named last, in one rename: a process
that ends in between leaves the index as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation import top_k
from metabin_jax.evaluation.embedding_file import Embeddings, unit_rows
from metabin_jax.evaluation.table import save_json
from metabin_jax.runtime import file_lock, gallery_files
from metabin_jax.runtime.gallery import (
  BLOCK_BYTES,
  Hit,
  check_model,
  count_hits,
  name_hits,
)

DTYPES = ("float32", "float16")
_INDEX = "index.json"
_LOCK = "lock"
_FORMAT = 1


class GalleryIndex:
  """The images of a folder as they are when it is opened, or changed here."""

  def __init__(self, folder: str | os.PathLike[str]):
    """Opens an index.

    Args:
      folder: made by `create`.

    Raises:
      UserError: if there is none, or it is damaged.
    """
    self.folder = pathlib.Path(folder)
    self._read()

  @classmethod
  def create(
    cls,
    folder: str | os.PathLike[str],
    card: Mapping[str, Any],
    *,
    dtype: str = "float32",
  ) -> GalleryIndex:
    """Makes an empty index.

    Args:
      folder: a new or empty folder.
      card: of the network whose embeddings it will hold, see
        `scoring.make_card`.
      dtype: "float32", or "float16" for half the space; cosines then differ by
        up to some 1e-3.

    Returns:
      The index.

    Raises:
      UserError: if the folder is not empty, or for another dtype.
    """
    folder = pathlib.Path(folder)
    if dtype not in DTYPES:
      raise UserError(f"dtype is {dtype!r}; use one of {', '.join(DTYPES)}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
      raise UserError(
        f"{folder} is not empty; name a new folder for the index, or the "
        "folder of an index."
      )
    folder.mkdir(parents=True, exist_ok=True)
    save_json(
      folder / _INDEX,
      {
        "format": _FORMAT,
        "dtype": dtype,
        "dim": card["embedding"]["dim"],
        "card": dict(card),
        "segments": [],
        "removed": None,
        "next": 0,
      },
    )
    return cls(folder)

  def __len__(self) -> int:
    """Images that can be found."""
    return int(self._valid.sum())

  @property
  def card(self) -> dict[str, Any]:
    """Of the network whose embeddings it holds."""
    return self._index["card"]

  @property
  def dim(self) -> int:
    """Length of an embedding."""
    return self._index["dim"]

  @property
  def names(self) -> list[str]:
    """Names of the images that can be found, in the order of their coming."""
    return [
      name
      for name, valid in zip(self._labels.names, self._valid, strict=True)
      if valid
    ]

  def append(self, embeddings: Embeddings) -> None:
    """Adds images; what is there is not written again.

    Args:
      embeddings: of the same network; names that are not there yet.

    Raises:
      UserError: as `change` does.
    """
    self.change(add=embeddings)

  def remove(self, names: Sequence[str]) -> None:
    """Takes images out; their space is freed by `compact`.

    Args:
      names: of images that are there.

    Raises:
      UserError: as `change` does.
    """
    self.change(remove=names)

  def change(
    self, add: Embeddings | None = None, remove: Sequence[str] = ()
  ) -> None:
    """Takes images out and adds others, both or neither.

    Args:
      add: as for `append`; a name that `remove` takes out may come again.
      remove: as for `remove`.

    Raises:
      UserError: if embeddings are of another network, a name is there already
        or is not there, an embedding has no direction or no label, or another
        process is changing the index. Then nothing has changed.
    """
    rows, labels = np.zeros((0, self.dim)), gallery_files.Labels([], [], [])
    if add is not None:
      rows = unit_rows(add, self.dim)
      labels = gallery_files.labels_of(add)
      check_model(str(self.folder), self.card, add.card)
    with self._changing():
      self._reject_unknown(remove)
      self._reject_known(set(labels.names) - set(remove))
      changes: dict[str, Any] = {"next": self._index["next"] + 1}
      if remove:
        valid = self._valid.copy()
        valid[[self._row[name] for name in remove]] = False
        name = f"removed-{self._index['next']:06d}.npy"
        gallery_files.write_removed(self.folder, name, np.flatnonzero(~valid))
        changes["removed"] = name
      if add is not None:
        segment = self._write_segment([rows.astype(self._dtype)], labels)
        changes["segments"] = [*self._index["segments"], segment]
      self._write(**changes)
      self._clean()

  def compact(self) -> None:
    """Writes what can be found into one segment, and frees the rest."""
    with self._changing():
      segment = self._write_segment(
        (block.rows[block.valid] for block in self.blocks()),
        self._labels.take(np.flatnonzero(self._valid)),
      )
      self._write(
        segments=[segment], removed=None, next=self._index["next"] + 1
      )
      self._clean()

  def blocks(self) -> Iterator[top_k.Block]:
    """The rows, a block at a time, in memory one block at a time.

    Raises:
      UserError: if a file of the index is missing or too short.
    """
    start = 0
    most = max(1, BLOCK_BYTES // (4 * self.dim))
    for segment in self._index["segments"]:
      for rows in gallery_files.read_rows(
        self.folder, **segment, dim=self.dim, dtype=self._dtype, most=most
      ):
        valid = self._valid[start : start + len(rows)]
        yield top_k.Block(start, rows, valid)
        start += len(rows)

  def search(
    self, embeddings: Embeddings, k: int = 10, *, place: str = "auto"
  ) -> list[list[Hit]]:
    """Finds the images that are most like each query, exactly.

    Args:
      embeddings: of the queries, by the same network.
      k: how many to find, at least 1.
      place: see `top_k.find`.

    Returns:
      For each query its hits, best first; fewer than k if the index has fewer.

    Raises:
      UserError: if the queries are of another network.
    """
    check_model(str(self.folder), self.card, embeddings.card)
    queries = unit_rows(embeddings, self.dim)
    # Not the number of those that can be found: rows that were removed count
    # until they are known to be such.
    k = count_hits(k, len(self._labels.names))
    return name_hits(
      top_k.find(queries, self.blocks(), k, place=place), self._labels
    )

  def _read(self) -> None:
    try:
      self._index = json.loads((self.folder / _INDEX).read_bytes())
      if self._index["format"] != _FORMAT:
        raise UserError(
          f"{self.folder} is an index of another version; make it anew."
        )
      self._dtype = np.dtype(self._index["dtype"]).newbyteorder("<")
      self._labels = gallery_files.Labels([], [], [])
      for segment in self._index["segments"]:
        self._labels.extend(gallery_files.read_labels(self.folder, **segment))
      self._valid = np.ones(len(self._labels.names), bool)
      if self._index["removed"]:
        removed = np.load(self.folder / self._index["removed"])
        self._valid[removed] = False
    except FileNotFoundError as error:
      if pathlib.Path(error.filename).name == _INDEX:
        raise UserError(
          f"{self.folder} is no index; make one with `metabin index`."
        ) from error
      raise gallery_files.damaged(
        self.folder, f"{error.filename} is missing"
      ) from error
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
      raise gallery_files.damaged(self.folder, str(error)) from error
    # Of a name that was removed and came again, the row that counts.
    self._row = {
      name: row
      for row, (name, valid) in enumerate(
        zip(self._labels.names, self._valid, strict=True)
      )
      if valid
    }

  @contextlib.contextmanager
  def _changing(self) -> Iterator[None]:
    """Holds the index for this process and sees its newest state."""
    lock = self.folder / _LOCK
    with file_lock.hold(lock) as held:
      if not held:
        raise UserError(
          f"{self.folder} is being changed by {file_lock.holder(lock)}; wait "
          "for it."
        )
      self._read()
      self._clean()
      yield

  def _write(self, **changes: Any) -> None:
    save_json(self.folder / _INDEX, {**self._index, **changes})
    self._read()

  def _write_segment(self, rows, labels) -> dict[str, Any]:
    name = f"{self._index['next']:06d}"
    gallery_files.write_segment(self.folder, name, rows, labels)
    return {"name": name, "rows": len(labels.names)}

  def _clean(self) -> None:
    """Deletes files that the index does not name."""
    named = {self._index["removed"]}
    for segment in self._index["segments"]:
      named |= {f"{segment['name']}.vectors", f"{segment['name']}.json"}
    gallery_files.delete_others(self.folder, named)

  def _reject_known(self, names: Iterable[str]) -> None:
    known = sorted(name for name in names if name in self._row)
    if known:
      raise UserError(
        f"{len(known)} names are in {self.folder} already "
        f"({_shorten(known)}); remove them first."
      )

  def _reject_unknown(self, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in self._row]
    if unknown:
      raise UserError(
        f"{len(unknown)} names are not in {self.folder} ({_shorten(unknown)}); "
        "nothing was changed."
      )


def _shorten(names: Sequence[str]) -> str:
  return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def is_index(folder: str) -> bool:
  """Whether a folder looks like an index."""
  return (pathlib.Path(folder) / _INDEX).is_file()
