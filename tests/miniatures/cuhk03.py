"""CUHK03 in small: folders of images, the archive, and CUHK03-NP."""

from __future__ import annotations

import pathlib

import numpy as np
from miniatures import pictures

# Persons of each of the five pairs of cameras.
PERSONS = (6, 4, 3, 2, 1)
# Of each pair, the first half (rounded up) is trained on.
_SIZE = (10, 20)
KINDS = ("detected", "labeled")


def build(folder: pathlib.Path, variant: str = "") -> pathlib.Path:
  """Writes it; the lists of the new protocol lie in "" and "mat".

  Args:
    folder: where.
    variant: "" (images_detected/ and images_labeled/), "no_lists" (the same),
      "mat" (the authors' archive) or "np" (CUHK03-NP).

  Returns:
    Its root.
  """
  if variant == "np":
    return _build_np(folder / "cuhk03-np")
  root = folder / "cuhk03"
  if variant == "mat":
    _write_archive(root / "cuhk03_release" / "cuhk-03.mat")
  else:
    for kind in KINDS:
      for pair, pid, image in cells(kind):
        path = root / f"images_{kind}" / file_name(pair, pid, image)
        pictures.write(path, *_shown(kind, pair, pid, image), _SIZE)
  if variant != "no_lists":
    for kind in KINDS:
      _write_lists(root / f"cuhk03_new_protocol_config_{kind}.mat", kind)
  return root


def cells(kind: str) -> list[tuple[int, int, int]]:
  """(pair, person, image) of every image, all counted from 1."""
  found = []
  for pair, persons in enumerate(PERSONS, 1):
    for pid in range(1, persons + 1):
      # Some cells of the archive are empty.
      for image in (1, 2, 3, 6, 7)[: 5 - pid % 2 * (not _tested(pair, pid))]:
        if (kind, pair, pid, image) != ("labeled", 1, 1, 2):
          found.append((pair, pid, image))
  return found


def file_name(pair: int, pid: int, image: int) -> str:
  return f"{pair}_{pid:03d}_{_view(image)}_{image:02d}.png"


def pixels(kind: str, pair: int, pid: int, image: int) -> np.ndarray:
  return pictures.pixels(*_shown(kind, pair, pid, image), _SIZE)


def part_of(pair: int, pid: int, image: int) -> str:
  if not _tested(pair, pid):
    return "train"
  return "query" if image in (1, 6) else "gallery"


def _view(image: int) -> int:
  return 1 if image <= 5 else 2


def _tested(pair: int, pid: int) -> bool:
  return pid > (PERSONS[pair - 1] + 1) // 2


def _shown(kind: str, pair: int, pid: int, image: int) -> tuple[int, int, int]:
  number = sum(PERSONS[: pair - 1]) + pid
  return number, _view(image), image + 10 * (kind == "labeled")


def _write_archive(path: pathlib.Path) -> None:
  import h5py

  path.parent.mkdir(parents=True)
  with h5py.File(path, "w") as mat:
    # MATLAB keeps what cells refer to in a group of its own.
    group = mat.create_group("#refs#")
    # An empty array is stored as its two sizes.
    empty = group.create_dataset("empty", data=np.zeros(2, np.uint64))
    for kind in KINDS:
      there = set(cells(kind))
      pairs = []
      for pair, persons in enumerate(PERSONS, 1):
        references = np.empty((10, persons), h5py.ref_dtype)
        for pid in range(1, persons + 1):
          for image in range(1, 11):
            cell = empty
            if (pair, pid, image) in there:
              cell = group.create_dataset(
                f"{kind}_{pair}_{pid}_{image}",
                data=pixels(kind, pair, pid, image).T,
              )
            references[image - 1, pid - 1] = cell.ref
        dataset = group.create_dataset(f"{kind}_{pair}", data=references)
        pairs.append(dataset.ref)
      outer = np.empty((1, len(pairs)), h5py.ref_dtype)
      outer[0] = pairs
      mat.create_dataset(kind, data=outer)


def _write_lists(path: pathlib.Path, kind: str) -> None:
  import scipy.io

  rows = cells(kind)
  names = np.empty((len(rows), 1), object)
  names[:, 0] = [file_name(*row) for row in rows]
  parts = [part_of(*row) for row in rows]
  numbers = {
    f"{part}_idx": np.array(
      [[i] for i, own in enumerate(parts, 1) if own == part], np.float64
    )
    for part in ("train", "query", "gallery")
  }
  labels = [[float(_shown(kind, *row)[0])] for row in rows]
  cameras = [[float(_view(image))] for _, _, image in rows]
  scipy.io.savemat(
    path, {"filelist": names, "labels": labels, "camId": cameras, **numbers}
  )


def _build_np(root: pathlib.Path) -> pathlib.Path:
  folders = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
  }
  for kind in KINDS:
    for index, (pair, pid, image) in enumerate(cells(kind), 1):
      number = _shown(kind, pair, pid, image)[0]
      name = f"{number:04d}_c{_view(image)}_{index}.png"
      path = root / kind / folders[part_of(pair, pid, image)] / name
      pictures.write(path, *_shown(kind, pair, pid, image), _SIZE)
  return root
