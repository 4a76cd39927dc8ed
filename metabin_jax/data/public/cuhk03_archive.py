"""Takes the images out of cuhk-03.mat, a MATLAB file in the HDF5 format."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from metabin_jax.data.public import extraction
from metabin_jax.errors import UserError

_COLUMNS = 10
_COLUMNS_OF_VIEW_1 = 5


def extract(archive: str, kind: str) -> tuple[str, list[str]]:
  """Writes the images of one kind below the cache folder.

  `archive[kind]` holds five references, one for each pair of cameras, each to
  references [10, persons]: rows 0 to 4 are view 1, rows 5 to 9 view 2. Images
  lie there as [3, width, height]; empty cells have fewer axes.

  Args:
    archive: path of cuhk-03.mat.
    kind: "detected" or "labeled".

  Returns:
    (folder, file names `<pair>_<pid>_<view>_<image>.png`, sorted), all numbers
    counted from 1 as in the authors' lists.

  Raises:
    UserError: if the archive cannot be read, h5py is not installed, or the
      images cannot be written.

  Source: deep-person-reid, torchreid/data/datasets/image/cuhk03.py.
  """
  with _open(archive) as mat:
    cells = _find_cells(mat, archive, kind)

    def load(name: str) -> np.ndarray:
      return np.ascontiguousarray(mat[cells[name]][()].T)

    folder = extraction.folder_for("cuhk03", [archive], kind)
    names = sorted(cells)
    extraction.write_images(folder, names, load)
  return folder, names


@contextlib.contextmanager
def _open(archive: str) -> Iterator[Any]:
  try:
    import h5py
  except ImportError as error:
    raise UserError(f"{archive} needs h5py: pip install h5py.") from error
  try:
    mat = h5py.File(archive, "r")
  except OSError as error:
    raise UserError(
      f"{archive} is no readable HDF5 file ({error}); get it anew."
    ) from error
  with mat:
    yield mat


def _find_cells(mat: Any, archive: str, kind: str) -> dict[str, Any]:
  """File name -> reference, of all cells that hold an image."""
  if kind not in mat:
    raise UserError(
      f"{archive} has no {kind!r}, only {', '.join(mat) or 'nothing'}; get the "
      "archive of cuhk03_release anew."
    )
  cells = {}
  for pair, reference in enumerate(mat[kind][()].flatten(), 1):
    persons = mat[reference][()].T
    if persons.ndim != 2 or persons.shape[1] != _COLUMNS:
      raise UserError(
        f"pair {pair} of {kind!r} in {archive} has shape {persons.shape}, want "
        f"[persons, {_COLUMNS}]; get the archive anew."
      )
    for pid, row in enumerate(persons, 1):
      for image, cell in enumerate(row, 1):
        shape = mat[cell].shape
        if len(shape) == 3 and all(shape):
          view = 1 if image <= _COLUMNS_OF_VIEW_1 else 2
          cells[f"{pair}_{pid:03d}_{view}_{image:02d}.png"] = cell
  return cells
