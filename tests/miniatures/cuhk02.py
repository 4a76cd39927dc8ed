"""CUHK02 in small: P1 to P5 in cuhk02, or, variant "Dataset", below that."""

from __future__ import annotations

import pathlib

from miniatures import pictures

# Persons of each pair; their numbers start again in every pair.
NUM_PERSONS = {"P1": 3, "P2": 2, "P3": 1, "P4": 2, "P5": 8}


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  root = folder / "cuhk02"
  first = 0
  for number, (pair, num_persons) in enumerate(NUM_PERSONS.items()):
    for person in range(1, num_persons + 1):
      for view in (1, 2):
        camera = 2 * number + view
        for index in (1, 2):
          file = (
            root / variant / pair / f"cam{view}" / f"{person:03d}_{index}.png"
          )
          pictures.write(file, first + person, camera, index)
    first += num_persons
  (root / variant / "P1" / "cam1" / "Thumbs.db").write_bytes(b"")
  (root / variant / "P1" / "cam1" / "._001_1.png").write_bytes(b"")
  return root
