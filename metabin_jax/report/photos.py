"""Photographs inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

_WIDTH_PX = 96  # on a page about 74, on a phone's finer grid more
_QUALITY = 80


def inline_photo(pixels: np.ndarray, alt: str) -> str:
  """An image as an element that holds its own bytes.

  Args:
    pixels: uint8 [H, W, 3] RGB.
    alt: what it shows, plain text without quotes or brackets.

  Returns:
    <img>, a JPEG of at most 96 columns.
  """
  image = Image.fromarray(pixels)
  if image.width > _WIDTH_PX:
    height = max(1, round(image.height * _WIDTH_PX / image.width))
    image = image.resize((_WIDTH_PX, height), Image.Resampling.LANCZOS)
  stream = io.BytesIO()
  image.save(stream, "JPEG", quality=_QUALITY)
  data = base64.b64encode(stream.getvalue()).decode("ascii")
  return (
    f'<img src="data:image/jpeg;base64,{data}" alt="{alt}" '
    f'width="{image.width}" height="{image.height}">'
  )
