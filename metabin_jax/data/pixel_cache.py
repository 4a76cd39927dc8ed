"""Resized images of whole data sets, read from disk."""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metabin_jax.data import images
from metabin_jax.data.pixel_cache_file import PixelFile

_log = logging.getLogger(__name__)


class Part(NamedTuple):
  """The cache of one data set.

  Attributes:
    name: the data set's.
    paths: the image files, sorted, each once; rows of `file`.
    folder: where the cache lies.
    file: the pixels.
  """

  name: str
  paths: tuple[str, ...]
  folder: pathlib.Path
  file: PixelFile


class PixelCache:
  """The training images of some data sets at one size.

  Attributes:
    height: rows of the images, in pixels.
    width: columns of the images, in pixels.
    parts: one for each data set.
  """

  def __init__(self, parts: Sequence[Part], height: int, width: int):
    """Takes prepared parts; see `prepare`."""
    self.height = height
    self.width = width
    self.parts = tuple(parts)
    self._rows = {
      path: (part, row)
      for part in reversed(self.parts)
      for row, path in enumerate(part.paths)
    }
    self._warned: set[pathlib.Path] = set()

  def check_size(self, height: int, width: int) -> None:
    """Refuses a plan for images of another size, in pixels."""
    if (height, width) != (self.height, self.width):
      raise ValueError(
        f"the cache holds {self.height}x{self.width} pixels, the plan wants "
        f"{height}x{width}."
      )

  def load(self, path: str) -> np.ndarray:
    """Returns what `images.load_image` does; several threads may call it.

    Pixels whose checksum is wrong are made again from the image file, and
    stored if the cache can be written.

    Args:
      path: one of the files that were prepared.

    Returns:
      uint8 [height, width, 3], not to be written to.

    Raises:
      KeyError: for another file.
      UserError: if pixels are damaged and the image cannot be read either.
    """
    part, row = self._rows[path]
    image = part.file.read(row)
    return self._mend(part, row) if image is None else image

  def verify(self) -> int:
    """Reads everything and makes again what is damaged.

    Returns:
      How many images were damaged.

    Raises:
      UserError: if one of these cannot be read from its file either.
    """
    damaged = 0
    for part in self.parts:
      for row in range(len(part.paths)):
        if part.file.read(row) is None:
          self._mend(part, row)
          damaged += 1
    return damaged

  def _mend(self, part: Part, row: int) -> np.ndarray:
    if part.folder not in self._warned:
      self._warned.add(part.folder)
      _log.warning(
        "The cached pixels of %s in %s are damaged; they are made again from "
        "the image, as are all others that turn out so.",
        part.paths[row],
        part.folder,
      )
    image = images.load_image(part.paths[row], self.height, self.width)
    # Another process may be reading or mending the same pixels: it meets
    # nothing but the damaged bytes and the right ones, and has its checksum.
    with contextlib.suppress(OSError):  # read-only, or a bad spot of the disk
      part.file.write(row, image)
      part.file.commit()
    return image
