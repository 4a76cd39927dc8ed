"""Images as users hold them, in memory or on disk, to what a network takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from metabin_jax.data import images
from metabin_jax.errors import UserError

ORDERS = ("RGB", "BGR")


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
    The pixels, resized as in training.

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
      image or as several without colour.
  """
  if isinstance(batch, (str, os.PathLike, Image.Image)):
    return [batch]
  if isinstance(batch, np.ndarray) and batch.ndim == 3:
    raise UserError(
      f"one array of shape {batch.shape} was given where several images are "
      "wanted; put it into a list: [image]."
    )
  return batch


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
