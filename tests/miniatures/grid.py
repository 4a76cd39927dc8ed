"""GRID in small: 16 persons, 6 distractors, ten partitions."""

from __future__ import annotations

import json
import pathlib

import numpy as np
from miniatures import pictures
from scipy import io

PIDS = range(1, 17)
_NUM_DISTRACTORS = 6


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it.

  Args:
    folder: the root goes below it.
    variant: "" has features_and_partitions.mat, "list" MetaBIN's splits.json,
      "bare" neither.

  Returns:
    The root, "GRID".
  """
  root = folder / "GRID"
  for pid in PIDS:
    for part, camera in (("probe", 1 + pid % 3), ("gallery", 4 + pid % 3)):
      pictures.write(root / part / _name(pid, camera), pid, camera, 0)
  for number in range(_NUM_DISTRACTORS):
    name = _name(0, 1 + number, number)
    pictures.write(root / "gallery" / name, 300 + number, 1 + number, 0)
  (root / "correspondence.txt").write_text("probe gallery\n")
  if variant == "":
    write_partitions(root / "features_and_partitions.mat")
  if variant == "list":
    (root / "splits.json").write_text(json.dumps(_lists(root)))
  return root


def trained(fold: int) -> list[int]:
  """Persons that partition number `fold` + 1 trains on."""
  return [pid for pid in PIDS if (pid - fold) % 16 < 8]


def write_partitions(path: pathlib.Path) -> None:
  """Writes a row of cells, each a structure of three lists of numbers."""
  cells = np.empty((1, 10), dtype=object)
  for fold in range(10):
    train = np.array([trained(fold)], dtype=np.uint16)
    # Field names are not known to us; the third one lists the persons.
    cells[0, fold] = {"first": 2 * train, "second": 2 * train - 1, "pid": train}
  features = np.zeros((2, 38))
  io.savemat(path, {"trainIdxAll": cells, "features": features})


def _name(pid: int, camera: int, number: int = 0) -> str:
  return f"{pid:04d}_{camera}_{25000 + 7 * pid + number}_107_32_106_221.jpeg"


def _lists(root: pathlib.Path) -> list[dict]:
  """The form of MetaBIN's loader: rows of path, person and camera."""
  lists = []
  for fold in range(10):
    parts: dict[str, list] = {"train": [], "query": [], "gallery": []}
    for part, use in (("probe", "query"), ("gallery", "gallery")):
      for path in sorted((root / part).iterdir()):
        pid, camera = map(int, path.name.split("_")[:2])
        row = [f"/elsewhere/GRID/{part}/{path.name}", pid, camera - 1]
        parts["train" if pid in trained(fold) else use].append(row)
    lists.append(parts)
  return lists
