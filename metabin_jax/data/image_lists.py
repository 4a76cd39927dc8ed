"""Which images a user means: folders, lists, single files, data sets."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from metabin_jax.data import listing, manifest, readers
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet
from metabin_jax.errors import UserError

# (path, "person" or "camera") -> (label, who says so)
_Labels = dict[tuple[str, str], tuple[str | int, str]]


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
    Entries in a fixed order, no two of one name. An image that is named twice
    has the labels that any of its places knows.

  Raises:
    UserError: for a place that holds no image, cannot be read, or brings a name
      that another has brought; for two labels of one image.
  """
  entries: dict[str, Entry] = {}
  labels: _Labels = {}
  for place in places:
    found = _list(place, note)
    if not found:
      raise UserError(f"{place} holds no image; name another place.")
    for entry, where in found:
      other = entries.get(entry.name)
      if other is not None and other.path != entry.path:
        raise UserError(
          f"{entry.path} and {other.path} would have the same "
          f"name {entry.name!r}; name a folder above both, once."
        )
      _check_labels(labels, entry, where)
      if other is not None:
        known = entry.camid != UNKNOWN_CAMERA
        camid = entry.camid if known else other.camid
        entry = entry._replace(pid=entry.pid or other.pid, camid=camid)
      entries[entry.name] = entry
  return list(entries.values())


def is_description(place: str) -> bool:
  """Whether a place is READER:PATH[?key=value] and not a file or folder."""
  return ":" in place and not os.path.exists(place)


def _check_labels(labels: _Labels, entry: Entry, where: str) -> None:
  """Refuses what contradicts an earlier label of the same file."""
  for what, label, unknown in (
    ("person", entry.pid, ""),
    ("camera", entry.camid, UNKNOWN_CAMERA),
  ):
    if label == unknown:
      continue
    before, there = labels.setdefault((entry.path, what), (label, where))
    if before != label:
      raise UserError(
        f"{entry.path} shows {what} {before} ({there}) and {what} {label} "
        f"({where}); keep the label that is right."
      )


def _list(place: str, note: Callable[[str], None]) -> list[tuple[Entry, str]]:
  """Images of a place, each with where it is named, for messages."""
  if os.path.isfile(place) and place.lower().endswith(".csv"):
    return _table(place)
  return [(entry, place) for entry in _list_others(place, note)]


def _list_others(place: str, note: Callable[[str], None]) -> list[Entry]:
  if os.path.isdir(place):
    return _folder(place)
  if os.path.isfile(place):
    if place.lower().endswith(".txt"):
      return _text(place)
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


def _table(file: str) -> list[tuple[Entry, str]]:
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
        where = f"{file}, line {reader.line_num}"
        entry = _below(file, (cells["path"] or "").strip())
        camid = (cells.get("camid") or "").strip()
        entry = entry._replace(
          pid=(cells.get("pid") or "").strip(),
          camid=manifest.parse_camid(where, camid),
        )
        found.append((entry, where))
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
  """Images, named by what their paths do not have in common."""
  every = [
    *dataset.train,
    *(r for fold in dataset.folds for r in (*fold.query, *fold.gallery)),
  ]
  if not every:
    return []
  above = os.path.commonpath([os.path.dirname(r.path) for r in every])
  return [
    Entry(
      os.path.relpath(record.path, above).replace(os.sep, "/"),
      record.path,
      record.pid,
      record.camid,
    )
    for record in every
  ]
