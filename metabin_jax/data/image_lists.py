"""Which images a user means: folders, lists, single files, data sets."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from metabin_jax.data import listing, readers
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet
from metabin_jax.errors import UserError


class Entry(NamedTuple):
  """One image to embed.

  Attributes:
    name: path below the folder, or as the list has it, with "/" between parts;
      the key of its embedding.
    path: where the file is.
    pid: person, "" if unknown.
    camid: camera, or `records.UNKNOWN_CAMERA`.
  """

  name: str
  path: str
  pid: str = ""
  camid: int = UNKNOWN_CAMERA


def list_images(
  places: Sequence[str], note: Callable[[str], None] = lambda line: None
) -> list[Entry]:
  """Lists the images of all places.

  Args:
    places: each a folder (with all below it), an image, a .txt file with a path
      on each line, a .csv file with a column "path" (and "pid", "camid" if
      known), or READER:PATH[?key=value], whose train, query and gallery images
      all count. Paths in files are relative to the file's folder.
    note: gets what a reader of results on a data set must know.

  Returns:
    Entries in a fixed order, no two of one name.

  Raises:
    UserError: for a place that holds no image, cannot be read, or brings a name
      that another has brought.
  """
  entries: dict[str, Entry] = {}
  for place in places:
    found = _list(place, note)
    if not found:
      raise UserError(f"{place} holds no image; name another place.")
    for entry in found:
      if entry.name in entries and entries[entry.name].path != entry.path:
        raise UserError(
          f"{entry.path} and {entries[entry.name].path} would have the same "
          f"name {entry.name!r}; name a folder above both, once."
        )
      entries[entry.name] = entry
  return list(entries.values())


def is_description(place: str) -> bool:
  """Whether a place is READER:PATH[?key=value] and not a file or folder."""
  return ":" in place and not os.path.exists(place)


def _list(place: str, note: Callable[[str], None]) -> list[Entry]:
  if os.path.isdir(place):
    return _folder(place)
  if os.path.isfile(place):
    end = os.path.splitext(place)[1].lower()
    if end == ".txt":
      return _text(place)
    if end == ".csv":
      return _table(place)
    return [Entry(os.path.basename(place), os.path.abspath(place))]
  if is_description(place):
    dataset = readers.open_dataset(place)
    for line in dataset.provenance.notes:
      note(line)
    return _records(dataset)
  raise listing.missing_path(place, "folder or file")


def _folder(folder: str) -> list[Entry]:
  """Images below a folder, its own before those of its sub-folders."""
  images, folders, _ = listing.list_folder(folder)
  found = [Entry(n, os.path.abspath(os.path.join(folder, n))) for n in images]
  for name in folders:
    found += [
      entry._replace(name=f"{name}/{entry.name}")
      for entry in _folder(os.path.join(folder, name))
    ]
  return found


def _text(file: str) -> list[Entry]:
  try:
    with open(file, encoding="utf-8-sig") as lines:
      names = [line.strip() for line in lines]
  except UnicodeDecodeError as error:
    raise UserError(
      f"{file} is not UTF-8 text ({error}); save it so."
    ) from error
  return [_below(file, name) for name in names if name]


def _table(file: str) -> list[Entry]:
  found = []
  try:
    with open(file, encoding="utf-8-sig", newline="") as lines:
      reader = csv.DictReader(lines, strict=True)
      if "path" not in (reader.fieldnames or ()):
        raise UserError(
          f"{file} has no column 'path'; its header is "
          f"{', '.join(reader.fieldnames or ()) or 'empty'}."
        )
      for cells in reader:
        entry = _below(file, (cells["path"] or "").strip())
        camid = (cells.get("camid") or "").strip()
        if camid and not camid.isdecimal():
          raise UserError(
            f"{file}, line {reader.line_num}: camid {camid!r} is no number; "
            "write a whole number from 0, or leave it empty."
          )
        found.append(
          entry._replace(
            pid=(cells.get("pid") or "").strip(),
            camid=int(camid) if camid else UNKNOWN_CAMERA,
          )
        )
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(
      f"{file} is not a UTF-8 CSV file ({error}); save it as comma-separated "
      "UTF-8 text."
    ) from error
  return found


def _below(file: str, name: str) -> Entry:
  if not name:
    raise UserError(f"{file} has a line without a path; remove it.")
  folder = os.path.dirname(os.path.abspath(file))
  path = os.path.normpath(os.path.join(folder, name))
  return Entry(name.replace(os.sep, "/"), path)


def _records(dataset: DataSet) -> list[Entry]:
  """Images by path, named by what their paths do not have in common."""
  every = [
    *dataset.train,
    *(r for fold in dataset.folds for r in (*fold.query, *fold.gallery)),
  ]
  records = {record.path: record for record in every}
  if not records:
    return []
  above = os.path.commonpath([os.path.dirname(path) for path in records])
  return [
    Entry(
      os.path.relpath(path, above).replace(os.sep, "/"),
      path,
      record.pid,
      record.camid,
    )
    for path, record in records.items()
  ]
