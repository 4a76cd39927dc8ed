"""MSMT17 in small: versions 1 and 2, and the repack into three folders."""

from __future__ import annotations

import pathlib

from miniatures import pictures

NUM_TRAIN_PIDS = 8
# Both parts count their persons from 0.
NUM_TEST_PIDS = 8
_CAMERAS = (1, 4, 9, 15)
_FOLDERS = {"v1": ("train", "test"), "v2": ("mask_train_v2", "mask_test_v2")}


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it; variants "" (version 1), "v2" and "repack".

  Returns:
    Its root.
  """
  if variant == "repack":
    return _build_repack(folder / "MSMT17")
  version = variant or "v1"
  root = folder / f"MSMT17_{version.upper()}"
  train, test = _FOLDERS[version]
  for name, rows in _lists().items():
    below = test if name in ("query", "gallery") else train
    lines = []
    for pid, index, camera in rows:
      # Some names of the archive have a last word more.
      extra = "_ex" if index == 3 else ""
      file = f"{pid:04d}_{index:03d}_{camera:02d}_0303morning_0015_0{extra}.jpg"
      lines.append(f"{pid:04d}/{file} {pid}\n")
      path = root / below / f"{pid:04d}" / file
      # Persons of the two parts are not the same.
      shown = pid + 1000 * (below == test)
      pictures.write(path, shown, camera, index, (12, 24))
    (root / f"list_{name}.txt").write_text("".join(lines))
  return root


def _build_repack(root: pathlib.Path) -> pathlib.Path:
  folders = {
    "train": "bounding_box_train",
    "val": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
  }
  for name, rows in _lists().items():
    for pid, index, camera in rows:
      path = root / folders[name] / f"{pid:04d}_c{camera}_{index:04d}.jpg"
      shown = pid + 1000 * (name in ("query", "gallery"))
      pictures.write(path, shown, camera, index, (12, 24))
  return root


def _lists() -> dict[str, list[tuple[int, int, int]]]:
  """List -> (person, number of the image, camera)."""
  lists: dict[str, list[tuple[int, int, int]]] = {
    "train": [],
    "val": [],
    "query": [],
    "gallery": [],
  }
  for pid in range(NUM_TRAIN_PIDS):
    for index in range(3 + pid % 2):
      row = (pid, index, _CAMERAS[(pid + index) % 3])
      lists["val" if index == 2 and pid < 3 else "train"].append(row)
  for pid in range(NUM_TEST_PIDS):
    for index in range(4 + pid % 2):
      row = (pid, index, _CAMERAS[(pid + index) % 4])
      lists["query" if index < 2 else "gallery"].append(row)
  return lists
