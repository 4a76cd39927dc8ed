"""Fills the pixel cache: every training image decoded and resized once."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np

from metabin_jax.data import images
from metabin_jax.data.pixel_cache import Part, PixelCache
from metabin_jax.data.pixel_cache_file import PixelFile, file_bytes, reserve
from metabin_jax.data.pixel_cache_folder import (
  IMAGES,
  default_root,
  describe,
  find_folder,
  locked,
)
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError

# Images between two records of what is finished: at most so many are decoded
# again after the process was killed.
CHUNK = 256
_MEND = (
  "free some space, or name another folder with data.cache_dir (with "
  "--cache-dir for metabin prepare)."
)
_log = logging.getLogger(__name__)


def prepare(
  datasets: Sequence[DataSet],
  *,
  height: int,
  width: int,
  say: Callable[[str], None],
  root: str | os.PathLike[str] | None = None,
  workers: int | None = None,
  stopped: Callable[[], bool] = lambda: False,
) -> PixelCache | None:
  """Reads and resizes the training images that are not in the cache yet.

  Each data set has a cache of its own, which all experiments with it share.
  Whenever this ends, the next call goes on with what is missing. Pixels from
  an earlier call are not read here; `PixelCache.load` checks them.

  Args:
    datasets: those to prepare.
    height: rows of the images, in pixels.
    width: columns of the images, in pixels.
    say: gets a line now and then.
    root: folder of the caches; None for $METABIN_CACHE or
      ~/.cache/metabin_jax.
    workers: threads that decode; None for one a processor, at most 16.
    stopped: asked often; True ends the work.

  Returns:
    The cache, or None if it was `stopped` before it was complete.

  Raises:
    UserError: if an image cannot be read, or the disk is full or closed.
  """
  root = default_root() if root is None else pathlib.Path(root).expanduser()
  workers = workers or min(16, os.cpu_count() or 1)
  jobs = []
  for dataset in datasets:
    if dataset.train:
      paths = tuple(sorted({record.path for record in dataset.train}))
      folder = find_folder(root, paths, height, width)
      jobs.append(
        _Job(
          dataset.name,
          paths,
          folder,
          height,
          width,
          workers,
          say,
          stopped,
          dataset.provenance.notes,
        )
      )
  parts = []
  try:
    _check_space(root, {job.folder: job.size for job in jobs})
    for job in jobs:
      file = job.run()
      if file is None:
        return None
      parts.append(Part(job.name, job.paths, job.folder, file))
  except OSError as error:
    raise UserError(
      f"the pixel cache below {root} cannot be written "
      f"({error.strerror or error}); {_MEND}"
    ) from error
  return PixelCache(parts, height, width)


class _Job(NamedTuple):
  """The preparation of one data set."""

  name: str
  paths: tuple[str, ...]
  folder: pathlib.Path
  height: int
  width: int
  workers: int
  say: Callable[[str], None]
  stopped: Callable[[], bool]
  notes: tuple[str, ...]

  @property
  def size(self) -> int:
    """Length of the file, in bytes."""
    return file_bytes(len(self.paths), self.height, self.width)

  def run(self) -> PixelFile | None:
    """Returns the complete file, or None if the work was stopped."""
    file = self._open()
    if file is None or not file.finished.all():
      with locked(
        self.folder, on_wait=self._say_waiting, stopped=self.stopped
      ) as held:
        if not held:
          return None
        # Anew: another process may have had the lock since.
        file = self._open() or self._create()
        describe(
          self.folder,
          self.name,
          self.paths,
          self.height,
          self.width,
          self.notes,
        )
        self._fill(file)
      if not file.finished.all():
        return None
    self.say(
      f"{len(self.paths):,} images of {self.name} are prepared in {self.folder}"
    )
    return file

  def _open(self) -> PixelFile | None:
    try:
      return PixelFile(
        self.folder / IMAGES, len(self.paths), self.height, self.width
      )
    except (FileNotFoundError, ValueError):
      return None

  def _create(self) -> PixelFile:
    if (self.folder / IMAGES).exists():
      _log.warning(
        "%s has not the length of %s bytes; it is made anew.",
        self.folder / IMAGES,
        f"{self.size:,}",
      )
    try:
      reserve(self.folder / IMAGES, self.size)
    except OSError as error:
      free = shutil.disk_usage(self.folder).free
      raise UserError(
        f"the pixel cache {self.folder} needs {self.size:,} bytes, which the "
        f"system refuses ({error.strerror or error}; {free:,} bytes are free); "
        f"{_MEND}"
      ) from error
    file = self._open()
    if file is None:
      raise OSError(f"another program keeps changing {self.folder}")
    return file

  def _fill(self, file: PixelFile) -> None:
    """Stores what is missing, chunk by chunk, until stopped."""
    missing = np.flatnonzero(~file.finished).tolist()
    progress = _Progress(self.name, len(missing), self.say)
    with _threads(self.workers) as executor:
      for start in range(0, len(missing), CHUNK):
        if self.stopped():
          return
        rows = missing[start : start + CHUNK]
        futures = [executor.submit(self._store, file, row) for row in rows]
        try:
          for future in futures:
            future.result()
        finally:
          # After a broken image or Ctrl-C too: what is finished stays.
          for future in futures:
            future.cancel()
          wait(futures)
          file.commit()
        progress.add(len(rows))

  def _store(self, file: PixelFile, row: int) -> None:
    image = images.load_image(self.paths[row], self.height, self.width)
    file.write(row, image)

  def _say_waiting(self) -> None:
    self.say(f"another process prepares {self.name}; waiting for it to finish")


class _Progress:
  """A line for every tenth."""

  def __init__(self, name: str, total: int, say: Callable[[str], None]):
    self._name = name
    self._total = total
    self._say = say
    self._done = 0
    self._began = time.perf_counter()

  def add(self, number: int) -> None:
    before, self._done = self._done, self._done + number
    if 10 * before // self._total == 10 * self._done // self._total:
      return
    rate = self._done / max(time.perf_counter() - self._began, 1e-9)
    self._say(
      f"preparing {self._name}: {self._done:,} of {self._total:,} images, "
      f"{rate:,.0f} images/s"
    )


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
  """An executor that forgets what has not begun when it is left."""
  executor = ThreadPoolExecutor(workers, "metabin-prepare")
  try:
    yield executor
  finally:
    executor.shutdown(wait=True, cancel_futures=True)


def _check_space(root: pathlib.Path, sizes: Mapping[pathlib.Path, int]) -> None:
  """Sees before the work whether all new files, in bytes, will fit."""
  needed = sum(
    size for folder, size in sizes.items() if not (folder / IMAGES).exists()
  )
  place = root.absolute()
  while not place.is_dir() and place != place.parent:
    place = place.parent
  free = shutil.disk_usage(place).free
  if needed > free:
    raise UserError(
      f"the pixel cache below {root} needs {needed:,} bytes, and {free:,} are "
      f"free; {_MEND}"
    )
