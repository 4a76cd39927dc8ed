"""Embeds many images in chunks that outlive a stop."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.data.image_lists import Entry
from metabin_jax.errors import UserError
from metabin_jax.evaluation.embedding_file import Embeddings
from metabin_jax.runtime import digest
from metabin_jax.runtime.extractor import Extractor

CHUNK = 1024  # images of one file of the folder
_PLAN = "plan.json"
_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


class Unreadable(NamedTuple):
  """An image without an embedding, and why."""

  name: str
  reason: str


def parts_folder(out: pathlib.Path) -> pathlib.Path:
  """Where the finished chunks of an output file wait for the others."""
  return out.with_name(f"{out.name}.parts")


def extract(
  extractor: Extractor,
  entries: Sequence[Entry],
  folder: pathlib.Path,
  *,
  skip: bool = False,
  say: Callable[[str], None],
  show: Callable[[int], None] = lambda done: None,
) -> tuple[Embeddings, list[Unreadable]]:
  """Embeds images; what an earlier call has finished is not embedded again.

  Args:
    extractor: the network.
    entries: the images.
    folder: where chunks are kept while others are missing; the caller deletes
      it once the result is safe.
    skip: leave out images that cannot be read, instead of ending.
    say: gets one line about each event worth reading.
    show: gets the number of images that are done.

  Returns:
    (embeddings in the order of `entries`, images that were left out).

  Raises:
    UserError: for an image that cannot be read, unless `skip`; for a network
      that gives something not finite.
  """
  chunk = CHUNK
  _open(folder, _plan(extractor, entries, chunk, skip), say)
  rows: list[np.ndarray] = []
  kept: list[Entry] = []
  bad: list[Unreadable] = []
  for start in range(0, len(entries), chunk):
    some = entries[start : start + chunk]
    file = folder / f"{start:012d}.npz"
    part = _load(file)
    if part is None:
      part = _embed(extractor, some, skip)
      _save(file, part)
    vectors, good, reasons = part
    rows.append(vectors)
    kept += [entry for entry, ok in zip(some, good, strict=True) if ok]
    failed = [entry for entry, ok in zip(some, good, strict=True) if not ok]
    bad += [
      Unreadable(entry.name, reason)
      for entry, reason in zip(failed, reasons, strict=True)
    ]
    show(min(start + chunk, len(entries)))
  if not kept:
    raise UserError("none of the images can be read; name others.")
  return join(kept, np.concatenate(rows), extractor.card), bad


def join(
  entries: Sequence[Entry], vectors: np.ndarray, card: dict[str, Any]
) -> Embeddings:
  """Embeddings [N, D] with the names and labels of their images."""
  return Embeddings(
    tuple(entry.name for entry in entries),
    vectors,
    tuple(entry.pid for entry in entries),
    np.array([entry.camid for entry in entries], np.int64),
    card,
  )


def remove(folder: pathlib.Path) -> None:
  """Deletes the chunks."""
  shutil.rmtree(folder, ignore_errors=True)


_Part = tuple[np.ndarray, np.ndarray, list[str]]


def _plan(extractor, entries, chunk, skip) -> dict[str, Any]:
  """What must be the same for chunks of an earlier call to be used."""
  files = hashlib.sha256()
  for entry in entries:
    try:
      state = os.stat(entry.path)
      stamp = [state.st_size, state.st_mtime_ns]
    except OSError:
      stamp = []
    files.update(digest.canonical_json([entry.name, entry.path, *stamp]))
  return {
    "images": len(entries),
    "images_sha256": files.hexdigest(),
    "chunk": chunk,
    "skip": skip,
    "batch_size": extractor.batch_size,
    "flip": extractor.flip,
    "card": extractor.card,
  }


def _open(folder, plan, say) -> None:
  """Makes the folder, or keeps the one of an equal call."""
  wanted = json.loads(json.dumps(plan))
  try:
    found = json.loads((folder / _PLAN).read_bytes())
  except (OSError, ValueError):
    found = None
  if found == wanted:
    done = len(list(folder.glob("*.npz")))
    say(f"continuing: {done} chunks of {plan['chunk']} images are done")
    return
  if folder.exists():
    say(f"{folder} is of other images or another network: starting anew")
    shutil.rmtree(folder)
  folder.mkdir(parents=True)
  # Last, so that a folder without it counts as none.
  (folder / _PLAN).write_text(json.dumps(plan), encoding="utf-8")


def _embed(extractor: Extractor, some: Sequence[Entry], skip: bool) -> _Part:
  vectors, reasons = extractor.embed_files([entry.path for entry in some], skip)
  good = np.array([reason is None for reason in reasons])
  if not np.isfinite(vectors).all():
    row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
    name = [entry.name for entry, ok in zip(some, good, strict=True) if ok][row]
    raise UserError(
      f"the embedding of {name} is not finite; the weights are unusable: go "
      "back to an earlier checkpoint."
    )
  return vectors, good, [reason for reason in reasons if reason is not None]


def _save(file: pathlib.Path, part: _Part) -> None:
  vectors, good, reasons = part
  unfinished = file.with_suffix(".part")
  with open(unfinished, "wb") as stream:
    np.savez(
      stream, vectors=vectors, good=good, reasons=np.array(reasons, np.str_)
    )
  os.replace(unfinished, file)


def _load(file: pathlib.Path) -> _Part | None:
  try:
    with open(file, "rb") as stream, np.load(stream) as found:
      reasons = [str(reason) for reason in found["reasons"]]
      return found["vectors"], found["good"], reasons
  except _BROKEN:
    return None
