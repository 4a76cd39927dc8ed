"""Opens every image once: its size, format and digest, or why it fails."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

from metabin_jax.data import images
from metabin_jax.data.doctor.findings import PROBLEM, Finding
from metabin_jax.data.records import DataSet, Record
from metabin_jax.errors import UserError

# Files a task: enough to make the price of a task small, few enough for a
# progress bar that moves and a quick end when the user stops.
_FILES_A_TASK = 32
_MOST_WORKERS = 16
_ORIENTATION = 0x0112  # EXIF tag
_LYING = (5, 6, 7, 8)  # its values that exchange width and height


class FileFacts(NamedTuple):
  """What one file is.

  Attributes:
    sha256: hexadecimal digest of the bytes; "" if they cannot be read.
    width: columns of the upright image, in pixels; 0 if unreadable.
    height: rows of the upright image, in pixels; 0 if unreadable.
    format: "JPEG", "PNG", ...; "" if unreadable.
    fault: the sentence that a run would end with; "" for a good image.
  """

  sha256: str
  width: int
  height: int
  format: str
  fault: str


def examine(path: str) -> FileFacts:
  """Reads one file, decodes it as a run would, and forgets the pixels.

  Args:
    path: an image file.

  Returns:
    Its facts; a bad file has a `fault`, nothing is raised for it.
  """
  try:
    with open(path, "rb") as file:
      sha256 = hashlib.file_digest(file, "sha256").hexdigest()
  except OSError:
    sha256 = ""
  try:
    # One pixel: all of the file is decoded, and almost nothing resized.
    images.load_image(path, 1, 1)
  except UserError as error:
    return FileFacts(sha256, 0, 0, "", str(error))
  with Image.open(path) as image:
    width, height = image.size
    # Of a PNG, Pillow would decode all pixels to find this tag.
    if image.format == "JPEG" and image.getexif().get(_ORIENTATION) in _LYING:
      width, height = height, width
    return FileFacts(sha256, width, height, image.format or "unknown", "")


def examine_all(
  paths: Iterable[str],
  *,
  workers: int | None = None,
  report: Callable[[int], None] = lambda done: None,
) -> dict[str, FileFacts]:
  """Examines files with threads.

  Args:
    paths: files; each is opened once, however often it is named.
    workers: threads; None for one a processor, at most 16.
    report: called after each file with the number of files done so far.

  Returns:
    Facts by path, sorted by path.
  """
  paths = sorted(set(paths))
  tasks = [
    paths[i : i + _FILES_A_TASK] for i in range(0, len(paths), _FILES_A_TASK)
  ]
  if workers is None:
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
  facts: dict[str, FileFacts] = {}
  executor = ThreadPoolExecutor(workers, "metabin-files")
  try:
    found = itertools.chain.from_iterable(executor.map(_examine_task, tasks))
    for path, fact in zip(paths, found, strict=True):
      facts[path] = fact
      report(len(facts))
  finally:
    executor.shutdown(wait=True, cancel_futures=True)
  return facts


def _examine_task(paths: Sequence[str]) -> list[FileFacts]:
  return [examine(path) for path in paths]


def all_records(dataset: DataSet) -> list[Record]:
  """Every record of a data set, those of each fold too."""
  records = list(dataset.train)
  for fold in dataset.folds:
    records += [*fold.query, *fold.gallery]
  return records


def find_unreadable(
  dataset: DataSet, facts: Mapping[str, FileFacts]
) -> list[Finding]:
  """Names the images that a run would fail at.

  Args:
    dataset: the data set.
    facts: from `examine_all`, of all its files.

  Returns:
    No finding or one; each case is the file and what the run says of it.
  """
  paths = sorted({record.path for record in all_records(dataset)})
  bad = tuple(
    (path, facts[path].fault.removeprefix(f"image {path} "))
    for path in paths
    if facts[path].fault
  )
  if not bad:
    return []
  text = (
    f"{len(bad)} of {len(paths)} image files cannot be read; a run ends when "
    "the turn of the first of them comes"
  )
  return [Finding(PROBLEM, "unreadable", dataset.name, text, bad)]
