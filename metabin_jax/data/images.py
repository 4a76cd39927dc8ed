"""Reads one image file into an array of fixed size."""

from __future__ import annotations

import functools
import os
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from metabin_jax.errors import UserError

# Far above any camera; an image header alone can claim gigabytes.
MAX_PIXELS = 100_000_000
_ORIENTATION = 0x0112  # EXIF tag
# What Pillow's plugins are known to raise on broken files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError)


def load_image(path: str, height: int, width: int) -> np.ndarray:
  """Reads an image, turns it upright, makes it RGB and resizes it.

  Orientation follows EXIF. Grey is repeated over the channels; palette, CMYK,
  YCbCr and 1-bit images are converted; 16-bit grey is divided by 257 (Pillow
  itself reduces 16-bit colour to its high byte); transparent pixels are laid
  over black. Damage that the decoder can hide (a flipped byte inside a JPEG)
  goes unnoticed; a file that ends early does not.

  Args:
    path: the file.
    height: rows of the result, in pixels.
    width: columns of the result, in pixels.

  Returns:
    uint8 [height, width, 3], resized by Pillow's bicubic filter, which
    low-passes when it shrinks.

  Raises:
    UserError: if the file is missing, broken, larger than 100 megapixels or
      not an image.

  Source: MetaBIN reference fastreid/data/transforms/build.py (bicubic resize)
    and data/data_utils.py (EXIF).
  """
  _silence_pillow()
  try:
    with Image.open(path) as image:
      if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)
      image.load()
      return _resize(_to_rgb(_upright(image)), height, width)
  except UserError:
    raise
  except FileNotFoundError as error:
    raise UserError(
      f"image {path} does not exist; restore it or remove it from the data set."
    ) from error
  except Image.DecompressionBombError as error:
    raise _too_large(path) from error
  except UnidentifiedImageError as error:
    raise _unreadable(path, f"it is not an image, {_head(path)}") from error
  except _BROKEN as error:
    reason = str(error) or type(error).__name__
    raise _unreadable(path, reason) from error


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resizes uint8 [H, W, 3] to [height, width, 3] as `load_image` does."""
  return _resize(Image.fromarray(image), height, width)


def from_pil(image: Image.Image, height: int, width: int) -> np.ndarray:
  """An opened image to uint8 [height, width, 3], as `load_image` does it.

  Raises:
    UserError: for pixels that have no agreed range.
  """
  try:
    return _resize(_to_rgb(_upright(image)), height, width)
  except _BROKEN as error:
    raise UserError(f"an image cannot be used: {error}.") from error


def _resize(image: Image.Image, height: int, width: int) -> np.ndarray:
  if image.size != (width, height):
    image = image.resize((width, height), Image.Resampling.BICUBIC)
  return np.array(image)


def _silence_pillow() -> None:
  """Keeps Pillow's remarks on odd files from the user's screen.

  warnings.catch_warnings is not safe among threads: two that overlap can
  restore each other's filters. Setting a filter again is, and costs 2 us.
  """
  warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
  warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _upright(image: Image.Image) -> Image.Image:
  try:
    return ImageOps.exif_transpose(image)
  except _BROKEN:
    return image  # a broken EXIF block says nothing about the pixels


def _to_rgb(image: Image.Image) -> Image.Image:
  if image.mode.startswith("I"):
    return _from_16_bit(image).convert("RGB")
  if image.mode == "F":
    raise ValueError("floating-point pixels have no agreed range")
  if image.has_transparency_data:
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")
  return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
  values = np.asarray(image).astype(np.int64)
  if np.min(values) < 0 or np.max(values) > 65535:
    raise ValueError("its grey values exceed 16 bits")
  return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _too_large(path: str) -> UserError:
  return UserError(
    f"image {path} claims more than {MAX_PIXELS // 10**6} megapixels; shrink "
    "it or remove it from the data set."
  )


def _unreadable(path: str, reason: str) -> UserError:
  return UserError(
    f"image {path} cannot be read ({reason}); replace it or remove it from "
    "the data set."
  )


def _head(path: str) -> str:
  if os.path.isdir(path):
    return "it is a folder"
  with open(path, "rb") as file:
    start = file.read(12)
  return f"it begins with {start!r}" if start else "it is empty"


@functools.lru_cache(maxsize=1 << 18)
def is_plain(path: str) -> bool:
  """Whether a file is 8-bit, upright, grey or RGB, and a JPEG or PNG.

  Such files need none of `load_image`'s conversions, so that any decoder gives
  the same pixels. Nothing is decoded. Files that cannot be opened count as not
  plain: `load_image` then says why.
  """
  _silence_pillow()
  try:
    with Image.open(path) as image:
      return (
        image.format in ("JPEG", "PNG")
        and image.mode in ("L", "RGB")
        and "transparency" not in image.info
        and image.width * image.height <= MAX_PIXELS
        and not _has_deep_channels(image)
        and not _may_be_turned(path, image)
      )
  except (*_BROKEN, Image.DecompressionBombError):
    return False


def _has_deep_channels(image: Image.Image) -> bool:
  # Pillow shows 16-bit RGB as mode "RGB"; only the tile's raw mode tells.
  return any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _may_be_turned(path: str, image: Image.Image) -> bool:
  if image.format == "JPEG":
    return image.getexif().get(_ORIENTATION, 1) != 1
  # Pillow's getexif decodes the whole PNG, as the tag may follow the pixels.
  with open(path, "rb") as file:
    content = file.read()
  return b"eXIf" in content or b"tiff:Orientation" in content
