"""Embeds many images in chunks that outlive a stop."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.data.image_lists import Entry
from metabin_jax.errors import UserError
from metabin_jax.evaluation.embedding_file import Embeddings
from metabin_jax.runtime import digest, file_lock
from metabin_jax.runtime.extractor import Extractor

CHUNK = 1024  # images of one file of the folder
_LOCK = "lock"
_PREFIX = "chunk-"
_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


class Unreadable(NamedTuple):
  """An image without an embedding, and why."""

  name: str
  reason: str


def parts_folder(out: pathlib.Path) -> pathlib.Path:
  """Where the finished chunks of an output file wait for the others."""
  return out.with_name(f"{out.name}.parts")


@contextlib.contextmanager
def claim(option: str, out: pathlib.Path) -> Iterator[pathlib.Path]:
  """Holds the chunks of an output file for this process.

  Args:
    option: the flag that names the file, for the message.
    out: the file that is to be written.

  Yields:
    The folder of the chunks. It is gone afterwards if it holds none.

  Raises:
    UserError: if another process works on the file.
  """
  folder = parts_folder(out)
  lock = folder / _LOCK
  with file_lock.hold(lock) as held:
    # The file is missing if its holder has removed it just now.
    if not held or not lock.exists():
      raise UserError(
        f"{option}={out} is being written by {file_lock.holder(lock)}; wait "
        "until it ends, or name another file."
      )
    try:
      yield folder
    finally:
      if not _chunks(folder):
        _delete([lock])
        # It may hold what is not ours.
        with contextlib.suppress(OSError):
          folder.rmdir()


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

  Chunks of the same images, weights and `flip` are used, whatever the other
  images and the batch size were.

  Args:
    extractor: the network.
    entries: the images.
    folder: where chunks are kept while others are missing; the caller holds it
      by `claim` and calls `remove` once the result is safe.
    skip: leave out images that cannot be read, instead of ending.
    say: gets one line about each event worth reading.
    show: gets the number of images that are done.

  Returns:
    (embeddings in the order of `entries`, images that were left out).

  Raises:
    UserError: for an image that cannot be read, unless `skip`; for a network
      that gives something not finite.
  """
  folder.mkdir(parents=True, exist_ok=True)
  starts = range(0, len(entries), CHUNK)
  model = _model_digest(extractor)
  files = [
    folder / _chunk_name(model, entries[start : start + CHUNK])
    for start in starts
  ]
  _say_what_is_there(folder, files, model, say)
  rows: list[np.ndarray] = []
  kept: list[Entry] = []
  bad: list[Unreadable] = []
  for start, file in zip(starts, files, strict=True):
    some = entries[start : start + CHUNK]
    part = _load(file)
    # Without `skip` an image that could not be read is tried again.
    if part is None or not (skip or part[1].all()):
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
    show(min(start + CHUNK, len(entries)))
  if not kept:
    # Nothing worth keeping; the files may be mended without a trace.
    _delete(files)
    raise UserError("none of the images can be read; name others.")
  return join(kept, np.concatenate(rows), extractor.card), bad


def waiting(folder: pathlib.Path) -> str:
  """What is finished, for a message to one whose command has ended early."""
  count = len(_chunks(folder))
  if not count:
    return "no chunk of images was finished."
  return (
    f"{_chunks_text(count)} of images wait in {folder}; the same command "
    "continues with them."
  )


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
  """Deletes the chunks; `claim` deletes the folder."""
  _delete([*_chunks(folder), *folder.glob(f"{_PREFIX}*.part")])


_Part = tuple[np.ndarray, np.ndarray, list[str]]


def _model_digest(extractor: Extractor) -> str:
  """Of all that embeddings hang on beside the image; 16 digits."""
  # Not the batch size: it moves an embedding by no more than rounding.
  data = {
    "sha256": extractor.card["model"]["sha256"],
    "last_stride": extractor.card["model"]["last_stride"],
    "input": extractor.card["input"],
    "flip": extractor.flip,
  }
  return hashlib.sha256(digest.canonical_json(data)).hexdigest()[:16]


def _chunk_name(model: str, entries: Sequence[Entry]) -> str:
  """Name of the file that holds these images, as they are now."""
  images = hashlib.sha256()
  for entry in entries:
    try:
      state = os.stat(entry.path)
      stamp = [state.st_size, state.st_mtime_ns]
    except OSError:
      stamp = []
    images.update(digest.canonical_json([entry.name, entry.path, *stamp]))
  return f"{_PREFIX}{model}-{images.hexdigest()[:32]}.npz"


def _chunks(folder: pathlib.Path) -> list[pathlib.Path]:
  return list(folder.glob(f"{_PREFIX}*.npz"))


def _chunks_text(count: int) -> str:
  return f"{count} finished chunk{'' if count == 1 else 's'}"


def _say_what_is_there(folder, files, model, say) -> None:
  """Says which chunks of earlier calls are used and why others are not."""
  found = set(_chunks(folder))
  if not found:
    return
  used = found & set(files)
  other = {
    file for file in found if not file.name.startswith(f"{_PREFIX}{model}-")
  }
  changed = len(found - used - other)
  if used:
    say(f"continuing: {len(used)} of {len(files)} chunks are done")
  if changed:
    say(
      f"{_chunks_text(changed)} in {folder} not used: their images were "
      "changed, or are others"
    )
  if other:
    say(
      f"{_chunks_text(len(other))} in {folder} not used: of another network "
      "or another --flip"
    )


def _delete(files: Sequence[pathlib.Path]) -> None:
  for file in files:
    with contextlib.suppress(OSError):
      file.unlink()


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
