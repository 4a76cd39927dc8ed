"""PRID 2011 in small: 16 shared persons, 2 and 6 others."""

from __future__ import annotations

import json
import pathlib

from miniatures import pictures

SHARED = range(1, 17)
OTHERS = {"cam_a": range(201, 203), "cam_b": range(201, 207)}


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it.

  Args:
    folder: the root goes below it.
    variant: "" or "list", which adds splits_single_shot.json.

  Returns:
    The root, "prid_2011".
  """
  root = folder / "prid_2011"
  for camera, (part, others) in enumerate(OTHERS.items()):
    place = root / "single_shot" / part
    for pid in SHARED:
      pictures.write(place / f"person_{pid:04d}.png", pid, camera, 0)
    for pid in others:
      # The same number is somebody else in the other camera.
      who = pid + 100 * camera
      pictures.write(place / f"person_{pid:04d}.png", who, camera, 0)
  shots = root / "multi_shot" / "cam_a" / "person_0001"
  pictures.write(shots / "0001.png", 1, 0, 1)
  (root / "readme.txt").write_text("PRID\n")
  if variant == "list":
    lists = [
      {"train": [p for p in SHARED if p not in tested(k)], "test": tested(k)}
      for k in range(10)
    ]
    (root / "splits_single_shot.json").write_text(json.dumps(lists))
  return root


def tested(fold: int) -> list[int]:
  """Persons that the list tests in fold number `fold` + 1."""
  return [pid for pid in SHARED if (pid - fold) % 16 < 8]
