"""VIPeR in small: 16 persons with gaps in their numbers."""

from __future__ import annotations

import pathlib

from miniatures import pictures

PIDS = (*range(5), *range(7, 12), *range(40, 44), 872, 873)
_ANGLES = (0, 45, 90, 135, 180)


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it.

  Args:
    folder: the root goes below it.
    variant: "" has cam_a and cam_b, "both" also MetaBIN's split folders,
      "split_folders" has these alone.

  Returns:
    The root, "VIPeR" or MetaBIN's "viper".
  """
  root = folder / ("viper" if variant else "VIPeR")
  if variant != "split_folders":
    for place, pid in enumerate(PIDS):
      for camera, part in enumerate(("cam_a", "cam_b")):
        name = f"{pid:03d}_{_angle(place, camera)}.bmp"
        pictures.write(root / part / name, pid, camera, 0)
    (root / "README.txt").write_text("VIPeR\n")
    (root / "cam_a" / "Thumbs.db").write_bytes(b"\0")
  if variant:
    for fold in range(10):
      _write_split(root / f"split_{fold + 1}a", fold)
      _write_split(root / f"split_{fold + 1}b", fold + 8)
  return root


def tested(fold: int) -> list[int]:
  """Persons that split folder number `fold` + 1 tests (no script does)."""
  return [pid for place, pid in enumerate(PIDS) if (place - fold) % 16 < 8]


def _write_split(folder: pathlib.Path, fold: int) -> None:
  for place, pid in enumerate(PIDS):
    test = pid in tested(fold)
    for camera in (0, 1):
      part = ("query", "gallery")[camera] if test else "train"
      angle = _angle(place, camera)
      name = f"p{pid:03d}_c{camera + 1}_d{angle:03d}.png"
      pictures.write(folder / part / name, pid, camera, 0)


def _angle(place: int, camera: int) -> int:
  return _ANGLES[(place + 2 * camera) % len(_ANGLES)]
