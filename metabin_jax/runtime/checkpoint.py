"""Checkpoints that survive a kill, a full disk and a flipped byte.

Every restore checks a digest over all that was saved and falls back to the
newest good step. Layout: `<directory>/<step>/`, an Orbax composite checkpoint;
see checkpoint_folder.py.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from absl import logging

from metabin_jax.errors import UserError
from metabin_jax.runtime import leaves as leaves_lib
from metabin_jax.runtime.checkpoint_folder import (
  DamagedError,
  flush_folder,
  read_folder,
  write_folder,
)
from metabin_jax.runtime.digest import Path
from metabin_jax.runtime.leaves import Leaf

_SAVING = ".saving-"
_DELETING = ".deleting-"
_REPLACED = ".replaced-"


class Restored(NamedTuple):
  """What a restore gives back.

  Attributes:
    step: completed iterations.
    state: the state, or nested dicts of NumPy arrays from `restore_raw`.
    metadata: the JSON data given to `save`.
  """

  step: int
  state: Any
  metadata: dict[str, Any]


class CheckpointStore:
  """The checkpoints of one run, in one folder, written by one process.

  Opening a store reads and writes nothing, so a second process may read while
  a run writes.
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    keep_last: int = 2,
    keep_every: int | None = None,
    warn: Callable[[str], None] | None = None,
  ):
    """Names the folder and what to keep.

    Args:
      directory: folder of the checkpoints, made by the first `save`.
      keep_last: how many of the newest checkpoints to keep, at least 1; with
        2 or more, damage to the newest loses only the steps since the last.
      keep_every: also keep every checkpoint whose step is a multiple of this.
      warn: gets one line about each damaged checkpoint; None logs it.

    Raises:
      ValueError: if `keep_last` or `keep_every` is below 1.
    """
    if keep_last < 1 or (keep_every is not None and keep_every < 1):
      raise ValueError(
        f"keep_last is {keep_last} and keep_every {keep_every}; both must be "
        "at least 1 (keep_every may be None)."
      )
    self.directory = pathlib.Path(directory).absolute()
    self._keep_last = keep_last
    self._keep_every = keep_every
    self._warn = warn or (lambda line: logging.warning("%s", line))
    self._damaged: set[int] = set()

  def steps(self) -> tuple[int, ...]:
    """Steps that are there in full, rising; their digests are not checked."""
    return tuple(
      step
      for step in self._folders()
      if (self._folder(step) / "metadata" / "metadata").is_file()
      and (self._folder(step) / "state").is_dir()
    )

  def save(
    self, step: int, state: Any, metadata: Mapping[str, Any] | None = None
  ) -> None:
    """Saves and returns when the checkpoint is safe on disk.

    A checkpoint of the same step is replaced, in one rename. Then those that
    are not to be kept are deleted, never the newest and never this one.

    Args:
      step: completed iterations, at least 0.
      state: any pytree of arrays, numbers and PRNG keys.
      metadata: JSON data; tuples come back as lists.

    Raises:
      ValueError: if the step is negative, the state holds something that is
        no array, or the metadata is no JSON.
    """
    step = int(step)
    if step < 0:
      raise ValueError(f"step is {step}; the first step is 0.")
    try:
      notes = json.loads(json.dumps(dict(metadata or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"metadata cannot be written as JSON: {error}."
      ) from None
    leaves = leaves_lib.flatten_state(state)
    self.directory.mkdir(parents=True, exist_ok=True)
    self._finish_replacing()
    self._remove_unfinished()
    part = self.directory / f"{_SAVING}{step}"
    try:
      write_folder(part, step, leaves, notes)
      self._rename(part, step)
    except BaseException:
      self._remove_unfinished()
      raise
    self._damaged.discard(step)
    self._delete_old(step)

  def tidy(self) -> None:
    """Finishes what a kill has cut in the middle of replacing a checkpoint.

    `restore` does it too; of several processes one does it before.
    """
    if self.directory.is_dir():
      self._finish_replacing()

  def restore(self, abstract_state: Any) -> Restored | None:
    """Restores the newest good checkpoint.

    Args:
      abstract_state: pytree with the structure, shapes and dtypes to expect:
        a freshly made state, or `jax.eval_shape` of its maker.

    Returns:
      `(step, state, metadata)` with arrays on the default device; None if the
      folder holds no checkpoint.

    Raises:
      UserError: if every checkpoint is damaged, or the checkpoint belongs to
        another model (names, shapes or dtypes differ).
    """
    self.tidy()
    found = self._newest_good()
    if found is None:
      return None
    step, leaves, metadata = found
    what = f"checkpoint step {step} in {self.directory}"
    return Restored(
      step, leaves_lib.fill(abstract_state, leaves, what), metadata
    )

  def restore_raw(self, step: int | None = None) -> Restored:
    """Restores without knowing the model, e.g. to use its weights only.

    Args:
      step: which checkpoint; None takes the newest good one.

    Returns:
      `(step, state, metadata)`; the state is nested dicts of NumPy arrays with
      names as in the saved state (a tuple's entries are "0", "1", ...; a PRNG
      key is its uint32 key data).

    Raises:
      UserError: if the step is missing or damaged, or nothing is good.
    """
    if step is None:
      found = self._newest_good()
      if found is None:
        raise UserError(
          f"there is no checkpoint in {self.directory}; give the folder of a "
          "run that has saved one."
        )
      step, leaves, metadata = found
    else:
      if step not in self._folders():
        raise UserError(
          f"there is no checkpoint step {step} in {self.directory}; it has "
          f"steps {', '.join(map(str, self.steps())) or 'none'}."
        )
      try:
        leaves, metadata = read_folder(self._folder(step), step)
      except DamagedError as error:
        raise UserError(
          f"checkpoint step {step} in {self.directory} is damaged ({error}); "
          "use another step."
        ) from None
    arrays = {path: leaf.value for path, leaf in leaves.items()}
    return Restored(step, leaves_lib.nest(arrays), metadata)

  def _folder(self, step: int) -> pathlib.Path:
    return self.directory / str(step)

  def _folders(self) -> list[int]:
    """Steps that have a folder, whatever is in it, rising."""
    if not self.directory.is_dir():
      return []
    return sorted(
      int(entry.name)
      for entry in self.directory.iterdir()
      if entry.name.isdecimal()
      and entry.name == str(int(entry.name))
      and entry.is_dir()
    )

  def _newest_good(
    self,
  ) -> tuple[int, dict[Path, Leaf], dict[str, Any]] | None:
    reasons: list[tuple[int, str]] = []
    for step in reversed(self._folders()):
      try:
        leaves, metadata = read_folder(self._folder(step), step)
      except DamagedError as error:
        reasons.append((step, str(error)))
        self._damaged.add(step)
        continue
      for bad, reason in reasons:
        self._warn(
          f"checkpoint step {bad} is damaged ({reason}): using step {step}"
        )
      return step, leaves, metadata
    if reasons:
      listed = "; ".join(f"step {step}: {reason}" for step, reason in reasons)
      raise UserError(
        f"no checkpoint in {self.directory} can be used ({listed}); bring the "
        "folder back from a copy, or start anew in another folder."
      )
    return None

  def _rename(self, part: pathlib.Path, step: int) -> None:
    target = self._folder(step)
    aside = self.directory / f"{_REPLACED}{step}"
    if target.exists():
      os.rename(target, aside)
    os.rename(part, target)
    flush_folder(self.directory)
    _remove(aside)

  def _finish_replacing(self) -> None:
    """Brings back what a kill between the two renames has left aside."""
    for aside in self.directory.glob(f"{_REPLACED}*"):
      target = self.directory / aside.name.removeprefix(_REPLACED)
      if target.exists():
        _remove(aside)
      else:
        os.rename(aside, target)

  def _remove_unfinished(self) -> None:
    for prefix in (_SAVING, _DELETING):
      for part in self.directory.glob(f"{prefix}*"):
        _remove(part)

  def _delete_old(self, saved: int) -> None:
    complete = self.steps()
    good = [step for step in complete if step not in self._damaged]
    kept = good[-self._keep_last :]
    for step in complete:
      forever = self._keep_every and step % self._keep_every == 0
      # Damaged steps ahead of the run stay until the run replaces them.
      if step < saved and step not in kept and not forever:
        # Renamed first: a kill must not leave half a folder with its name.
        part = self.directory / f"{_DELETING}{step}"
        os.rename(self._folder(step), part)
        _remove(part)


def _remove(path: pathlib.Path) -> None:
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)
