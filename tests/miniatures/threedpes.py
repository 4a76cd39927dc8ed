"""3DPeS in small: variants "" (a folder for each person) and "RGB" (one)."""

from __future__ import annotations

import pathlib

from miniatures import pictures

NUM_IMAGES = {1: 2, 2: 3, 4: 4, 5: 2, 10: 5, 21: 2}


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  root = folder / "3DPeS"
  for person, num_images in NUM_IMAGES.items():
    for index in range(1, num_images + 1):
      name = f"{person}_{index}_FRAME_{10 * index}_RGB.bmp"
      file = root / (variant or str(person)) / name
      pictures.write(file, person, index, index)
  return root
