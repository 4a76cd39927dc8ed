"""Images that a data set keeps inside other files, written out once.

They go below the cache folder, never into the user's data.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from metabin_jax.errors import UserError

SIZES = "sizes.json"
"""File beside the images: name -> size in bytes of what was written."""


def folder_for(set_name: str, files: Sequence[str], *details: object) -> str:
  """Names the folder for what is taken out of some files.

  Args:
    set_name: name of the data set.
    files: the files that hold the images; another size or time of change gives
      another folder.
    details: whatever else decides what the images look like.

  Returns:
    Path below $METABIN_CACHE or ~/.cache/metabin_jax; nothing is made.
  """
  key = [set_name, *map(str, details)]
  for file in files:
    status = os.stat(file)
    key += [
      os.path.realpath(file),
      str(status.st_size),
      str(status.st_mtime_ns),
    ]
  digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
  root = os.environ.get("METABIN_CACHE") or "~/.cache/metabin_jax"
  place = pathlib.Path(root).expanduser() / "extracted"
  return str(place / f"{set_name}-{digest}")


def write_images(
  folder: str,
  names: Iterable[str],
  load: Callable[[str], np.ndarray],
) -> None:
  """Writes those images that are not there as they were written, as PNG.

  A file of another size than `SIZES` lists, or one not listed, is written
  again. Other bytes of the same size are not found here but, if they are no
  image, by whoever reads them.

  A call stopped by an error or by Ctrl-C is continued by the next one. What a
  call has written that was killed is not listed, and so written again.

  Args:
    folder: from `folder_for`; made if need be.
    names: file names that end in ".png"; may lie in sub-folders.
    load: name -> uint8 [H, W, 3] RGB; called for what is written only.

  Raises:
    UserError: if the files cannot be written.
  """
  place = pathlib.Path(folder)
  known = _read_sizes(place)
  written: dict[str, int] = {}
  try:
    for name in names:
      target = place / name
      if name not in known or size_of(target) != known[name]:
        data = _encode(load(name))
        write_file(target, data)
        written[name] = len(data)
  except BaseException:
    # The first error is the one to tell of.
    with contextlib.suppress(UserError):
      _add_sizes(place, written)
    raise
  _add_sizes(place, written)


def write_file(
  target: pathlib.Path, data: bytes, *, sync: bool = False
) -> None:
  """Writes a file below the cache folder, in one step as others see it.

  Args:
    target: its folder is made if need be.
    data: the content.
    sync: waits until it is on the disk. Meant for the index alone: it tells the
      size of a file that a power failure cut short.

  Raises:
    UserError: if it cannot be written.
  """
  part = target.with_name(f".{target.name}.part-{os.getpid()}")
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "wb") as file:
      file.write(data)
      if sync:
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, target)
  except OSError as error:
    raise UserError(
      f"{target} cannot be written ({error.strerror or error}); make room "
      "there, or set METABIN_CACHE to another folder, and run it again: it "
      "continues."
    ) from error
  finally:
    # Its folder may be what could not be made.
    with contextlib.suppress(OSError):
      part.unlink()


def size_of(path: str | os.PathLike[str]) -> int | None:
  """Returns the size of a file in bytes, None if it cannot be found."""
  try:
    return os.stat(path).st_size
  except OSError:
    return None


def _encode(image: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
  return buffer.getvalue()


def _read_sizes(place: pathlib.Path) -> dict[str, int]:
  """Returns what is listed; nothing if the list cannot be read."""
  try:
    sizes = json.loads((place / SIZES).read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return {}
  return sizes if isinstance(sizes, dict) else {}


def _add_sizes(place: pathlib.Path, written: Mapping[str, int]) -> None:
  """Lists what was written, besides what another process has listed."""
  if written:
    sizes = {**_read_sizes(place), **written}
    data = json.dumps(sizes, sort_keys=True).encode()
    write_file(place / SIZES, data, sync=True)
