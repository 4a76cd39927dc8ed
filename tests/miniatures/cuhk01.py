"""CUHK01 in small: campus/<person><image>.png."""

from __future__ import annotations

import pathlib

from miniatures import pictures

NUM_PERSONS = 9


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  assert not variant
  root = folder / "cuhk01"
  for person in range(1, NUM_PERSONS + 1):
    for index in (1, 2, 3, 4):
      file = root / "campus" / f"{person:04d}{index:03d}.png"
      pictures.write(file, person, (index + 1) // 2, index)
  (root / "campus" / "Readme.txt").write_text("CUHK01")
  return root
