"""Images as users hold them, in memory or on disk, to what a network takes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from metabin_jax.data import images
from metabin_jax.errors import UserError

ORDERS = ("RGB", "BGR")
_TAKEN = "paths, PIL images and uint8 arrays [H, W, 3]"


def to_pixels(
  image: Any, height: int, width: int, *, order: str = "RGB"
) -> np.ndarray:
  """One image of any size to uint8 [height, width, 3] RGB.

  Args:
    image: path of a file, PIL image, or uint8 array [H, W, 3] in 0..255.
    height: rows of the result, in pixels.
    width: columns of the result.
    order: of an array's channels, "RGB" or "BGR" (as OpenCV reads); files and
      PIL images know their own.

  Returns:
    The pixels, resized as in training. Of an array [3, H, 3] nobody can tell
    whether channels come first; it is taken as [H, W, 3] like any other.

  Raises:
    UserError: for arrays of another type, shape or range, and for files that
      cannot be read; says how to mend it.
  """
  if order not in ORDERS:
    raise UserError(f"order is {order!r}; use one of {', '.join(ORDERS)}.")
  if isinstance(image, (str, os.PathLike)):
    return images.load_image(os.fspath(image), height, width)
  if isinstance(image, Image.Image):
    return images.from_pil(image, height, width)
  if isinstance(image, (list, tuple)):
    raise UserError(
      f"an image is a {type(image).__name__} of numbers or of images, want "
      "uint8 [H, W, 3]; make an array of it: np.asarray(x, np.uint8)."
    )
  if not hasattr(image, "__array__"):
    raise UserError(
      f"an image is of type {type(image).__name__}; {_TAKEN} are accepted."
    )
  array = np.asarray(image)
  _check_array(array)
  if order == "BGR":
    array = array[:, :, ::-1]
  return images.resize(np.ascontiguousarray(array), height, width)


def split_batch(batch: Any) -> Sequence[Any]:
  """A user's argument as a sequence of single images.

  Args:
    batch: a sequence of images, an array [N, H, W, 3], or one image.

  Returns:
    The images.

  Raises:
    UserError: for an array of three dimensions, which could be meant as one
      image or as several without colour, and for what holds no images.
  """
  if isinstance(batch, (str, os.PathLike, Image.Image)):
    return [batch]
  if hasattr(batch, "__array__"):
    array = np.asarray(batch)
    if array.ndim == 0 or (array.ndim < 4 and array.dtype.kind in "biufc"):
      raise UserError(
        f"one array of shape {array.shape} was given where several images are "
        "wanted; put it into a list: [image]."
      )
    return list(array)
  # Files and mappings could be iterated too, over lines and keys.
  if (
    not isinstance(batch, Iterable)
    or isinstance(batch, (bytes, bytearray, memoryview, Mapping))
    or hasattr(batch, "read")
  ):
    raise UserError(
      f"images are of type {type(batch).__name__}; a sequence of {_TAKEN}, an "
      "array [N, H, W, 3], or one path or PIL image is accepted."
    )
  return list(batch)


def _check_array(array: np.ndarray) -> None:
  if array.ndim != 3:
    hint = ""
    if array.ndim == 2:
      hint = "; repeat grey over three channels: np.stack([x] * 3, axis=-1)"
    raise UserError(f"an image has shape {array.shape}, want [H, W, 3]{hint}.")
  if array.shape[2] != 3:
    hint = ""
    if array.shape[0] == 3:
      hint = "; channels come last: x.transpose(1, 2, 0)"
    elif array.shape[2] == 1:
      hint = "; repeat grey over three channels: np.repeat(x, 3, axis=2)"
    elif array.shape[2] == 4:
      hint = "; leave transparency out: x[:, :, :3]"
    raise UserError(f"an image has shape {array.shape}, want [H, W, 3]{hint}.")
  if 0 in array.shape:
    raise UserError(f"an image has shape {array.shape}, which has no pixels.")
  if array.dtype != np.uint8:
    hint = "numbers from 0 to 255 as uint8"
    if array.dtype.kind == "f" and array.size and np.nanmax(array) <= 1:
      hint += ": (x * 255).round().astype(np.uint8)"
    raise UserError(f"an image is {array.dtype}, want {hint}.")
  # No mistake for sure: a picture in the dark may look so.
  if array[..., 0].size > 1 and array.max() == 1:
    warnings.warn(
      "an image holds no number above 1, so it is all but black; if 1 is meant "
      "as white, multiply by 255 before converting to uint8.",
      stacklevel=2,
    )
