"""QMUL i-LIDS in small: 17 persons with 2 to 5 images."""

from __future__ import annotations

import json
import pathlib

from miniatures import pictures

PIDS = range(1, 18)


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it.

  Args:
    folder: the root goes below it.
    variant: "" has the folder images, "persons" has the names of the authors'
      archive, "list" adds splits.json.

  Returns:
    The root, "QMUL-iLIDS" or "i-LIDS_Pedestrian".
  """
  root = folder / ("QMUL-iLIDS", "i-LIDS_Pedestrian")[variant == "persons"]
  images = root / ("images", "Persons")[variant == "persons"]
  for pid in PIDS:
    for index in range(1, num_images(pid) + 1):
      pictures.write(images / f"{pid:04d}{index:03d}.jpg", pid, 0, index)
  (images / "Thumbs.db").write_bytes(b"\0")
  if variant == "list":
    lists = [
      {
        "train": [f"{p:04d}001.jpg" for p in PIDS if p not in tested(k)],
        "query": [f"{p:04d}002.jpg" for p in tested(k)],
        "gallery": [f"{p:04d}001.jpg" for p in tested(k)],
      }
      for k in range(10)
    ]
    (root / "splits.json").write_text(json.dumps(lists))
  return root


def num_images(pid: int) -> int:
  return 2 + pid % 4


def tested(fold: int) -> list[int]:
  """Persons that the list tests in fold number `fold` + 1."""
  return [pid for pid in PIDS if (pid - fold) % 17 < 9]
