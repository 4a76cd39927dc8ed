"""DukeMTMC-reID in small: persons who are in the gallery alone, too."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from miniatures import pictures

NUM_CAMERAS = 8
TRAIN_PIDS = (1, 2, 5, 7, 8, 19, 42, 300, 1004, 2500, 4999, 7100)
TEST_PIDS = (3, 4, 6, 11, 64, 900, 3001, 7140)
GALLERY_ONLY_PIDS = (12, 5555)


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it; there is one variant. Returns its root."""
  assert not variant
  root = folder / "DukeMTMC-reID"
  add_training(root, TRAIN_PIDS)
  for number, pid in enumerate(TEST_PIDS):
    for step in range(2):
      camera = 1 + (number + step) % NUM_CAMERAS
      _write(root / "query", pid, camera, 0)
      for index in (1, 2)[: 1 + number % 2]:
        _write(root / "bounding_box_test", pid, camera, index)
  for pid in GALLERY_ONLY_PIDS:
    for index in range(3):
      _write(root / "bounding_box_test", pid, 4, index)
  (root / "LICENSE_DukeMTMC-reID.txt").write_text("terms\n")
  return root


def add_training(root: pathlib.Path, pids: Sequence[int]) -> None:
  """Writes further persons into the training folder."""
  for number, pid in enumerate(pids):
    for index in range(2 + number % 4):
      camera = 1 + (number + index % 3) % NUM_CAMERAS
      _write(root / "bounding_box_train", pid, camera, index)


def _write(place: pathlib.Path, pid: int, camera: int, index: int) -> None:
  name = f"{pid:04d}_c{camera}_f{46000 + 60 * index:07d}.jpg"
  pictures.write(place / name, pid, camera, index, (14, 28))
