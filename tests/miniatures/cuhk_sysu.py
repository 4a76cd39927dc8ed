"""CUHK-SYSU in small.

Variants: "metabin" (cropped_image), "torchreid" (cropped_images), "own"
(Image/SSM with annotation/Person.mat), "own73" (the same with a file of
MATLAB 7.3), "all" (everything at once).
"""

from __future__ import annotations

import io
import pathlib

import numpy as np
import scipy.io
from miniatures import pictures
from PIL import Image

SIZE = (40, 32)  # width and height of a full image
# Person -> appearances: number of the full image, box as MATLAB counts (first
# column and row are 1, both ends belong to it), hard or not.
PERSONS = {
  1: [(1, (1, 1, 11, 23), 0), (2, (3, 2, 10, 20), 1)],
  2: [(1, (14, 5, 9, 19), 0), (3, (2, 4, 12, 22), 0), (4, (9, 1, 8, 16), 0)],
  3: [(2, (18, 6, 11, 20), 0)],
  4: [(3, (20, 3, 10, 21), 1), (5, (1, 9, 13, 22), 0)],
  # Reaches one column and two rows beyond the image.
  17: [(5, (30, 20, 11, 14), 0), (6, (5, 5, 10, 20), 0)],
  11934: [(6, (22, 7, 9, 18), 0), (123, (8, 8, 11, 21), 0)],
}


def build(folder: pathlib.Path, variant: str = "metabin") -> pathlib.Path:
  root = folder / ("cuhksysu" if variant == "torchreid" else "CUHK-SYSU")
  if variant in ("own", "own73", "all"):
    _write_full(root)
    write = write_mat_73 if variant == "own73" else write_mat
    write(root / "annotation" / "Person.mat", PERSONS)
  for person, appearances in PERSONS.items():
    for index, (scene, box, hard) in enumerate(appearances, start=1):
      crop = _crop(scene, box)
      if variant in ("metabin", "all"):
        name = f"p{person:05d}_n{index:02d}_s{scene:05d}_hard{hard}.png"
        _save(crop, root / "cropped_image" / name)
      if variant in ("torchreid", "all"):
        name = f"p{person}_s{scene}_{index}.jpg"
        _save(crop, root / "cropped_images" / name)
  return root


def _full(scene: int) -> bytes:
  """A JPEG of a full image, every person a patch of its colours."""
  canvas = pictures.pixels(0, scene, scene, SIZE)
  for person, appearances in PERSONS.items():
    for number, (x, y, width, height), _ in appearances:
      if number == scene:
        patch = pictures.pixels(person, scene, 0, (width + 1, height + 1))
        room = canvas[y - 1 : y + height, x - 1 : x + width]
        room[:] = patch[: room.shape[0], : room.shape[1]]
  file = io.BytesIO()
  Image.fromarray(canvas).save(file, "JPEG", quality=95)
  return file.getvalue()


def _crop(scene: int, box: tuple[int, int, int, int]) -> Image.Image:
  """Cut by Pillow, whose boxes count from 0 and leave the far end out."""
  x, y, width, height = box
  with Image.open(io.BytesIO(_full(scene))) as image:
    right, low = min(x + width, image.width), min(y + height, image.height)
    return image.crop((x - 1, y - 1, right, low))


def _save(image: Image.Image, path: pathlib.Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  image.save(path)


def _write_full(root: pathlib.Path) -> None:
  folder = root / "Image" / "SSM"
  folder.mkdir(parents=True)
  for scene in sorted({s for rows in PERSONS.values() for s, _, _ in rows}):
    (folder / f"s{scene}.jpg").write_bytes(_full(scene))


def write_mat(path: pathlib.Path, persons: dict) -> None:
  """Person.mat as MATLAB 5: struct arrays of 1 x n, as the authors' script has.

  Args:
    path: the file; its folder is made if need be.
    persons: like `PERSONS`.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  fields = [("idname", object), ("nAppear", object), ("scene", object)]
  table = np.empty((1, len(persons)), fields)
  for column, (person, rows) in enumerate(persons.items()):
    scenes = np.empty(
      (1, len(rows)),
      [("imname", object), ("idlocate", object), ("ishard", object)],
    )
    for index, (scene, box, hard) in enumerate(rows):
      place = np.array([box], np.float64)
      scenes[0, index] = (f"s{scene}.jpg", place, float(hard))
    table[0, column] = (f"p{person}", float(len(rows)), scenes)
  scipy.io.savemat(path, {"Person": table})


def write_mat_73(path: pathlib.Path, persons: dict) -> None:
  """Person.mat as MATLAB 7.3 lays out nested struct arrays in HDF5."""
  import h5py

  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, "w", userblock_size=512) as file:
    cells = file.create_group("#refs#")
    group = file.create_group("Person")

    def keep(value) -> h5py.Reference:
      return cells.create_dataset(str(len(cells)), data=value).ref

    def text(value: str) -> np.ndarray:
      return np.array([[ord(letter)] for letter in value], np.uint16)

    def column(parent, field: str, values: list) -> None:
      # One element lies there itself, more of them as references.
      if len(values) == 1:
        parent.create_dataset(field, data=values[0])
        return
      refs = np.array([[keep(value)] for value in values], h5py.ref_dtype)
      parent.create_dataset(field, data=refs)

    scenes = []
    for rows in persons.values():
      scene = cells.create_group(f"scene{len(scenes)}")
      column(scene, "imname", [text(f"s{number}.jpg") for number, _, _ in rows])
      boxes = [np.array(box, float)[:, np.newaxis] for _, box, _ in rows]
      column(scene, "idlocate", boxes)
      column(scene, "ishard", [np.full((1, 1), hard) for _, _, hard in rows])
      scenes.append([scene.ref])
    column(group, "idname", [text(f"p{person}") for person in persons])
    counts = [np.full((1, 1), float(len(rows))) for rows in persons.values()]
    column(group, "nAppear", counts)
    group.create_dataset("scene", data=np.array(scenes, h5py.ref_dtype))
  with open(path, "r+b") as file:
    # The block before the HDF5 part is MATLAB's own head: version 2, "IM".
    file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
