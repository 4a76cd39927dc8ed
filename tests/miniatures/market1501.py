"""Market-1501 in small: every quirk of its names, few images."""

from __future__ import annotations

import pathlib

from miniatures import pictures

NUM_CAMERAS = 6
# Twelve persons to train on, eight others to search for.
TRAIN_PIDS = tuple(range(2, 26, 2))
TEST_PIDS = tuple(range(3, 19, 2))
NUM_JUNK = 3
NUM_DISTRACTORS = 2


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it; there is one variant. Returns its root."""
  assert not variant
  root = folder / "Market-1501-v15.09.15"
  for number, pid in enumerate(TRAIN_PIDS):
    # 2 to 5 images of 2 or 3 cameras.
    for index in range(2 + number % 4):
      camera = 1 + (number + index % 3) % NUM_CAMERAS
      name = _name(pid, camera, index)
      pictures.write(
        root / "bounding_box_train" / name, pid, camera, index, (16, 32)
      )
  for number, pid in enumerate(TEST_PIDS):
    cameras = [1 + (number + step) % NUM_CAMERAS for step in range(2)]
    for camera in cameras:
      # Six queries and eighteen gallery images end so in the published set.
      twice = ".jpg" if (number, camera) == (1, cameras[0]) else ""
      name = _name(pid, camera, 0) + twice
      pictures.write(root / "query" / name, pid, camera, 0, (16, 32))
      for index in (1, 2)[: 1 + number % 2]:
        twice = ".jpg" if (number, index) == (3, 2) else ""
        name = _name(pid, camera, index) + twice
        pictures.write(
          root / "bounding_box_test" / name, pid, camera, index, (16, 32)
        )
  for pid, count in ((-1, NUM_JUNK), (0, NUM_DISTRACTORS)):
    for index in range(count):
      name = _name(pid, 1 + index, index)
      pictures.write(
        root / "bounding_box_test" / name, pid, 1 + index, index, (16, 32)
      )
  # What lies about in the archive and on other people's disks.
  for name in (
    "bounding_box_train/Thumbs.db",
    "bounding_box_test/._0003_c1s1_000100_00.jpg",
    "gt_bbox/0002_c1s1_000100_00.jpg",
    "readme.txt",
  ):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no image")
  return root


def _name(pid: int, camera: int, index: int) -> str:
  written = "-1" if pid < 0 else f"{pid:04d}"
  return f"{written}_c{camera}s1_{100 + index:06d}_{index:02d}.jpg"
