"""Small pictures of made-up persons, the same in every run."""

from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image

# Shares of the golden ratio spread the hues of any number of persons.
_TURN = 0.618033988749895


def write(
  path: str | pathlib.Path,
  pid_number: int,
  camera: int,
  index: int,
  size: tuple[int, int] = (12, 24),
) -> None:
  """Writes one picture, its format by the suffix of `path`.

  A person has two colours (upper and lower half), a camera its brightness, and
  every picture its own noise, so that no two pictures are the same.

  Args:
    path: file; its folder is made if need be.
    pid_number: person, >= -1.
    camera: camera, >= -1.
    index: number of the picture among those of this person and camera.
    size: (width, height) in pixels.
  """
  target = pathlib.Path(path)
  target.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels(pid_number, camera, index, size)).save(target)


def pixels(
  pid_number: int,
  camera: int,
  index: int,
  size: tuple[int, int] = (12, 24),
) -> np.ndarray:
  """The uint8 [height, width, 3] picture that `write` saves."""
  width, height = size
  random = np.random.default_rng((pid_number + 1, camera + 1, index))
  image = np.empty((height, width, 3))
  image[: height // 2] = _colour(pid_number * _TURN)
  image[height // 2 :] = _colour(pid_number * _TURN * _TURN + 0.3)
  image *= 1.0 - 0.06 * (camera % 5)
  image += random.normal(0.0, 8.0, image.shape)
  return np.clip(image, 0, 255).astype(np.uint8)


def _colour(hue: float) -> np.ndarray:
  phases = 2 * np.pi * (hue + np.arange(3) / 3)
  return 128 + 90 * np.cos(phases)
