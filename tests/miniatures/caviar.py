"""CAVIAR4REID in small: some persons in two cameras, some in one."""

from __future__ import annotations

import pathlib

from miniatures import pictures

# Person -> number of images.
NUM_IMAGES = {1: 4, 2: 4, 3: 4, 5: 4, 6: 2, 8: 2}


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  assert not variant
  root = folder / "CAVIARa"
  for person, num_images in NUM_IMAGES.items():
    for index in range(1, num_images + 1):
      file = root / f"{person:04d}{index:03d}.jpg"
      pictures.write(file, person, (index + 1) // 2, index)
  return root
