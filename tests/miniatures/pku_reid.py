"""PKU-Reid in small: eight persons, two cameras, eight orientations."""

from __future__ import annotations

import pathlib

from miniatures import pictures

PERSONS = (1, 3, 4, 7, 8, 9, 10, 114)


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  assert not variant
  root = folder / "PKUv1a_128x48"
  for person in PERSONS:
    for camera in (1, 2):
      for orientation in range(1, 9):
        file = root / f"{person:03d}_{camera:02d}_{orientation}.png"
        pictures.write(file, person, camera, orientation, (6, 16))
  return root
