"""Where the pixel cache of a data set lies, and who may change it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

import PIL
from PIL import features

from metabin_jax.errors import UserError

# Raised by hand when the file or what is stored in it changes.
FORMAT_VERSION = 1
IMAGES = "images.bin"
_ABOUT = "about.json"
_LOCK = "lock"
_POLL_SECONDS = 0.2


def default_root() -> pathlib.Path:
  """Returns $METABIN_CACHE or ~/.cache/metabin_jax."""
  root = os.environ.get("METABIN_CACHE") or "~/.cache/metabin_jax"
  return pathlib.Path(root).expanduser()


def find_folder(
  root: pathlib.Path, paths: Sequence[str], height: int, width: int
) -> pathlib.Path:
  """Names the folder of the resized images of these files; makes nothing.

  The name is a SHA-256 over the paths, sizes and modification times of the
  files, the size of the images, the format and the decoder, so that whatever
  changes has a new cache.

  Args:
    root: folder of all caches.
    paths: the files, sorted.
    height: rows of the images, in pixels.
    width: columns of the images, in pixels.

  Returns:
    `root`/pixels/<64 hexadecimal digits>.

  Raises:
    UserError: if a file is missing.
  """
  key = {
    "format": FORMAT_VERSION,
    "height": height,
    "width": width,
    "filter": "bicubic",
    **_decoder(),
    "files": [(path, *_size_and_time(path)) for path in paths],
  }
  digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode())
  return root / "pixels" / digest.hexdigest()


def describe(
  folder: pathlib.Path,
  name: str,
  paths: Sequence[str],
  height: int,
  width: int,
  notes: Sequence[str] = (),
) -> None:
  """Writes `about.json`, by which a person can tell the folders apart."""
  about = {
    "data_set": name,
    "images": len(paths),
    "height_px": height,
    "width_px": width,
    "first_file": paths[0],
    "notes": list(notes),
    "format": FORMAT_VERSION,
    **_decoder(),
  }
  unfinished = folder / f".{_ABOUT}.{secrets.token_hex(4)}"
  try:
    unfinished.write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    os.replace(unfinished, folder / _ABOUT)
  except BaseException:
    unfinished.unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def locked(
  folder: pathlib.Path,
  *,
  on_wait: Callable[[], None],
  stopped: Callable[[], bool],
) -> Iterator[bool]:
  """Keeps other processes from preparing this cache; makes the folder.

  The system lifts the lock when the process ends, however it ends.

  Args:
    folder: of the cache.
    on_wait: called once if another process holds the lock.
    stopped: asked while waiting.

  Yields:
    True when the lock is held, False if `stopped` came first.

  Raises:
    OSError: if the folder cannot be written or its disk knows no locks.
  """
  folder.mkdir(parents=True, exist_ok=True)
  fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
  try:
    waiting = False
    while not (held := _try_lock(fd)) and not stopped():
      if not waiting:
        on_wait()
      waiting = True
      # Not a blocking lock: the request to stop would not end it.
      time.sleep(_POLL_SECONDS)
    yield held
  finally:
    os.close(fd)


def _try_lock(fd: int) -> bool:
  import fcntl  # not on Windows, which has all but the pixel cache

  try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
      return False
    raise
  return True


def _decoder() -> dict[str, str | None]:
  """Another decoder may give pixels that are a grey level off."""
  return {
    "pillow": PIL.__version__,
    "libjpeg": features.version_feature("libjpeg_turbo")
    or features.version_codec("jpg"),
  }


def _size_and_time(path: str) -> tuple[int, int]:
  try:
    status = os.stat(path)
  except OSError as error:
    raise UserError(
      f"image {path} cannot be found ({error.strerror}); restore it or remove "
      "it from the data set."
    ) from error
  return status.st_size, status.st_mtime_ns
