"""Files of a figure: either complete or not there."""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np


def replace_file(
  path: pathlib.Path, write: Callable[[pathlib.Path], None]
) -> None:
  """Writes a file under another name and then gives it its own.

  Args:
    path: the file; its folder is made if missing, an older file is replaced.
    write: writes to the path that it is given.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f".{path.name}.part-{os.getpid()}")
  try:
    write(part)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def save_rows(
  path: pathlib.Path, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
  """Writes a CSV file: numbers in full float32 precision, None as nothing.

  Args:
    path: the file.
    header: names of the columns.
    rows: as many cells each.

  Raises:
    ValueError: if a row has another number of cells.
  """

  def write(part: pathlib.Path) -> None:
    with part.open("w", encoding="utf-8", newline="") as file:
      writer = csv.writer(file, lineterminator="\n")
      writer.writerow(header)
      for row in rows:
        if len(row) != len(header):
          raise ValueError(f"{row} does not fit the columns {tuple(header)}.")
        writer.writerow([_cell(value) for value in row])

  replace_file(path, write)


def _cell(value: object) -> object:
  if isinstance(value, float | np.floating):
    # Nine digits tell any two float32 apart.
    return f"{float(value):.9g}"
  return value
