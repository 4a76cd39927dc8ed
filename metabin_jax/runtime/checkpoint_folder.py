"""One checkpoint folder: written through to the disk, read with a check.

Orbax stores the arrays (item `state`) and a JSON document (item `metadata`),
and restores a flipped byte without a word. So there are two digests: one of
every file, checked before Orbax opens any (on broken files its readers print
tracebacks of their own), and one over the leaves as they were in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from metabin_jax.runtime.digest import Path, digest_leaves
from metabin_jax.runtime.leaves import Leaf, nest, unnest

_FORMAT = 1
_FILE_DIGESTS = "metadata/files.json"


class DamagedError(Exception):
  """A checkpoint on disk is not what was saved; the text is the reason."""


def write_folder(
  folder: pathlib.Path,
  step: int,
  leaves: Mapping[Path, Leaf],
  notes: dict[str, Any],
) -> None:
  """Writes a checkpoint to a new folder and returns when it is on disk.

  Args:
    folder: absolute path that does not exist yet.
    step: completed iterations.
    leaves: the state, from `flatten_state`.
    notes: JSON data to keep beside it.
  """
  document = _describe(step, leaves, notes)
  # Orbax refuses arrays without elements; the document rebuilds them.
  stored = {
    path: leaf.value for path, leaf in leaves.items() if leaf.value.size
  }
  with _checkpointer() as checkpointer:
    checkpointer.save(
      folder,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeSave(nest(stored)),
        metadata=ocp.args.JsonSave(document),
      ),
    )
  digests = {
    file.relative_to(folder).as_posix(): _digest_file(file)
    for file in sorted(folder.rglob("*"))
    if file.is_file()
  }
  (folder / _FILE_DIGESTS).write_text(json.dumps(digests, indent=1))
  for root, _, files in os.walk(folder):
    for name in files:
      _fsync(pathlib.Path(root) / name)
    flush_folder(pathlib.Path(root))


def read_folder(
  folder: pathlib.Path, step: int
) -> tuple[dict[Path, Leaf], dict[str, Any]]:
  """Reads one checkpoint and checks it against its digest.

  Args:
    folder: absolute path of the checkpoint.
    step: the step that the folder's name claims.

  Returns:
    The leaves of the state and the notes, as they went into `write_folder`.

  Raises:
    DamagedError: if a file is missing, unreadable or not as written.
  """
  _check_files(folder)
  try:
    with _checkpointer() as checkpointer:
      items = checkpointer.restore(
        folder,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeRestore(), metadata=ocp.args.JsonRestore()
        ),
      )
    document = dict(items["metadata"])
    digest = document.pop("digest")
    arrays = unnest(items["state"])
    leaves = {}
    for parts, kind, shape, key_impl in document["leaves"]:
      path = tuple(parts)
      if 0 in shape:
        arrays[path] = np.zeros(shape, "uint32" if key_impl else kind)
      leaves[path] = Leaf(np.asarray(arrays[path]), kind, key_impl)
    notes, saved_step = document["metadata"], document["step"]
    same = digest == digest_leaves(arrays, document)
  except Exception as error:  # whatever a broken file makes a reader raise
    raise DamagedError(f"cannot be read: {_first_line(error)}") from error
  if not same or saved_step != step:
    raise DamagedError("digest differs")
  return leaves, notes


def _checkpointer() -> ocp.Checkpointer:
  """Reads and writes whole arrays in this process, whatever others do."""
  if jax.process_count() == 1:
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
  index = jax.process_index()
  options = ocp.options.MultiprocessingOptions(
    primary_host=index,
    active_processes={index},
    barrier_sync_key_prefix=f"process{index}",
  )
  return ocp.Checkpointer(
    ocp.CompositeCheckpointHandler(
      composite_options=ocp.CompositeOptions(multiprocessing_options=options)
    ),
    multiprocessing_options=options,
  )


def flush_folder(folder: pathlib.Path) -> None:
  """Forces the names in a folder to disk."""
  _fsync(folder)


def _describe(
  step: int, leaves: Mapping[Path, Leaf], notes: dict[str, Any]
) -> dict[str, Any]:
  """The JSON document beside the arrays, with the digest over both."""
  document = {
    "format": _FORMAT,
    "step": step,
    "metadata": notes,
    "leaves": [
      [list(path), leaf.kind, list(leaf.value.shape), leaf.key_impl]
      for path, leaf in leaves.items()
    ],
  }
  arrays = {path: leaf.value for path, leaf in leaves.items()}
  return document | {"digest": digest_leaves(arrays, document)}


def _check_files(folder: pathlib.Path) -> None:
  """Raises `DamagedError` unless every file is there as it was written."""
  try:
    digests = dict(json.loads((folder / _FILE_DIGESTS).read_bytes()))
    for name, digest in digests.items():
      if _digest_file(folder / name) != digest:
        raise DamagedError(f"digest of {name} differs")
  except FileNotFoundError as error:
    missing = os.path.relpath(error.filename, folder)
    raise DamagedError(f"{missing} is missing") from None
  except (OSError, TypeError, ValueError) as error:
    raise DamagedError(f"cannot be read: {_first_line(error)}") from None


def _digest_file(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
  return (str(error) or type(error).__name__).splitlines()[0][:120]


def _fsync(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
