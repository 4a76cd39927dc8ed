"""Images that a data set keeps inside other files, written out once.

They go below the cache folder, never into the user's data.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from metabin_jax.errors import UserError


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
  """Writes those images that are not there yet, as PNG.

  A file is either complete or not there, so that a stopped call is continued by
  the next one.

  Args:
    folder: from `folder_for`; made if need be.
    names: file names that end in ".png"; may lie in sub-folders.
    load: name -> uint8 [H, W, 3] RGB; called for missing files only.

  Raises:
    UserError: if the files cannot be written.
  """
  place = pathlib.Path(folder)
  for name in names:
    target = place / name
    if target.exists():
      continue
    image = Image.fromarray(load(name))
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
      target.parent.mkdir(parents=True, exist_ok=True)
      image.save(part, format="PNG", compress_level=1)
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
