"""Reads a CSV file with one line per image."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence

from metabin_jax.data import listing
from metabin_jax.data.records import (
  MAX_CAMERA,
  UNKNOWN_CAMERA,
  DataSet,
  Fold,
  Record,
)
from metabin_jax.errors import UserError

REQUIRED_COLUMNS = ("path", "pid", "camid", "domain", "split")
SPLITS = ("train", "query", "gallery")
DEFAULT_FOLD = "test"

# (line number, record, split, fold)
_Row = tuple[int, Record, str, str]


def read_manifest(
  path: str, *, name: str, domains: Sequence[str] | None = None
) -> DataSet:
  """Reads a manifest.

  Columns are path, pid, camid, domain, split and, if wanted, fold; others are
  ignored. Paths are relative to the manifest's folder. camid is a whole number
  >= 0, or empty or "unknown". An empty domain stands for the data set's name.
  A query or gallery line with an empty fold belongs to every fold that other
  lines name (one fold "test" if none does); train lines have no fold.

  Args:
    path: the CSV file, UTF-8.
    name: name of the data set, the prefix of its pids.
    domains: keep only images of these domains; None keeps all.

  Returns:
    The data set; the order of the lines is kept.

  Raises:
    UserError: for a bad column, cell, domain or path; names file and line.
  """
  if not os.path.isfile(path):
    raise listing.missing_path(path, "file")
  path = os.path.abspath(path)
  rows = list(_parse(path, name))
  if not rows:
    raise UserError(
      f"manifest {path} has no line below its header; add one per image."
    )
  if domains is not None:
    rows = _keep_domains(path, rows, domains)
  _reject_repeats(path, rows)
  _reject_missing_files(path, rows)
  train = tuple(record for _, record, split, _ in rows if split == "train")
  return DataSet(name, train, _folds(path, rows))


def _parse(path: str, name: str) -> Iterator[_Row]:
  folder = os.path.dirname(path)
  try:
    # utf-8-sig: spreadsheets put a byte order mark before the first column.
    with open(path, encoding="utf-8-sig", newline="") as file:
      reader = csv.DictReader(file, strict=True)
      _check_header(path, reader.fieldnames)
      for cells in reader:
        yield _parse_row(path, folder, name, reader.line_num, cells)
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(
      f"manifest {path} is not a UTF-8 CSV file ({error}); save it as "
      "comma-separated UTF-8 text."
    ) from error


def _check_header(path: str, columns: Iterable[str] | None) -> None:
  columns = list(columns or ())
  missing = [column for column in REQUIRED_COLUMNS if column not in columns]
  if not missing:
    return
  hint = ""
  if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
    hint = " (columns must be separated by commas)"
  raise UserError(
    f"manifest {path} lacks the columns {', '.join(missing)}{hint}; its "
    f"header has {', '.join(columns) or 'nothing'}, want "
    f"{','.join(REQUIRED_COLUMNS)}[,fold]."
  )


def _parse_row(
  path: str, folder: str, name: str, line: int, cells: dict
) -> _Row:
  where = f"manifest {path}, line {line}"
  if None in cells or None in cells.values():
    raise UserError(
      f"{where}: the number of cells differs from the header's; quote cells "
      "that contain commas."
    )
  cells = {column: value.strip() for column, value in cells.items()}
  for column in ("path", "pid"):
    if not cells[column]:
      raise UserError(f"{where}: {column} is empty; fill it in.")
  split, fold = cells["split"], cells.get("fold", "")
  if split not in SPLITS:
    raise UserError(
      f"{where}: split {split!r} is unknown; use one of {', '.join(SPLITS)}."
    )
  if split == "train" and fold:
    raise UserError(
      f"{where}: a train line has fold {fold!r}; leave its fold empty."
    )
  record = Record(
    path=os.path.normpath(os.path.join(folder, cells["path"])),
    pid=f"{name}/{cells['pid']}",
    camid=parse_camid(where, cells["camid"]),
    domain=cells["domain"] or name,
  )
  return line, record, split, fold


def parse_camid(where: str, text: str) -> int:
  """Reads the camera of a line.

  Args:
    where: the file and line, for messages.
    text: the cell.

  Returns:
    The number, `UNKNOWN_CAMERA` for "" and "unknown".

  Raises:
    UserError: for anything but a whole number from 0 to `MAX_CAMERA`.
  """
  if text in ("", "unknown"):
    return UNKNOWN_CAMERA
  # str.isdigit alone accepts superscripts.
  if text.isascii() and text.isdigit():
    # Python reads no number of thousands of digits.
    if len(text.lstrip("0")) > len(str(MAX_CAMERA)) or int(text) > MAX_CAMERA:
      raise UserError(
        f"{where}: camid {text[:40]} is too large; use a whole number from 0 "
        f"to {MAX_CAMERA}, or unknown."
      )
    return int(text)
  raise UserError(
    f"{where}: camid {text!r} is not a camera number; use a whole number >= 0, "
    "or unknown."
  )


def _keep_domains(
  path: str, rows: list[_Row], domains: Sequence[str]
) -> list[_Row]:
  known = sorted({record.domain for _, record, _, _ in rows})
  for domain in domains:
    if domain not in known:
      raise UserError(
        f"manifest {path} has no image of domain {domain!r}; it has "
        f"{', '.join(known)}."
      )
  return [row for row in rows if row[1].domain in domains]


def _reject_repeats(path: str, rows: list[_Row]) -> None:
  seen: dict[tuple[str, str, str], int] = {}
  for line, record, split, fold in rows:
    first = seen.setdefault((record.path, split, fold), line)
    if first != line:
      raise UserError(
        f"manifest {path}, line {line}: {record.path} is already a {split} "
        f"image in line {first}; keep one of the two lines."
      )


def _reject_missing_files(path: str, rows: list[_Row]) -> None:
  missing = [row for row in rows if not os.path.isfile(row[1].path)]
  if missing:
    line, record, _, _ = missing[0]
    raise UserError(
      f"manifest {path}: {len(missing)} of {len(rows)} image files do not "
      f"exist, first {record.path} (line {line}); paths are relative to "
      f"{os.path.dirname(path)}."
    )


def _folds(path: str, rows: list[_Row]) -> tuple[Fold, ...]:
  tests = [row for row in rows if row[2] != "train"]
  if not tests:
    return ()
  # dict.fromkeys keeps the order of first appearance.
  names = list(dict.fromkeys(row[3] for row in tests if row[3]))
  folds = []
  for fold_name in names or [DEFAULT_FOLD]:
    parts: dict[str, list[Record]] = {"query": [], "gallery": []}
    for _, record, split, fold in tests:
      if fold in ("", fold_name):
        parts[split].append(record)
    for split, records in parts.items():
      if not records:
        raise UserError(
          f"manifest {path}: fold {fold_name!r} has no {split} line; each "
          "fold needs query and gallery lines."
        )
    folds.append(
      Fold(fold_name, tuple(parts["query"]), tuple(parts["gallery"]))
    )
  return tuple(folds)
