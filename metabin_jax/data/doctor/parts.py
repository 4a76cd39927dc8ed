"""Counts of each part of a data set: persons, cameras, sizes, formats."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from metabin_jax.data.doctor.files import FileFacts
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Record

UNKNOWN = "unknown"
ALL_FOLDS = "all folds"


class Spread(NamedTuple):
  """Smallest, middle (the lower of two) and largest value."""

  min: int
  median: int
  max: int


@dataclasses.dataclass(frozen=True)
class Pixels:
  """Sizes and formats of the readable images of a part.

  Attributes:
    width: in pixels; None if no image is readable.
    height: in pixels, likewise.
    formats: images by format, sorted by name.
    unreadable: number of other images.
  """

  width: Spread | None
  height: Spread | None
  formats: dict[str, int]
  unreadable: int


@dataclasses.dataclass(frozen=True)
class PartReport:
  """Counts of one part.

  Attributes:
    part: "train", "query" or "gallery".
    fold: name of the fold, `ALL_FOLDS` for the union of several, "" for train.
    images: number of different records.
    persons: number of persons.
    single: persons with a single image in this part.
    cameras: images by camera number, `UNKNOWN` last.
    pixels: None if no file was opened.
  """

  part: str
  fold: str
  images: int
  persons: int
  single: int
  cameras: dict[str, int]
  pixels: Pixels | None


def count_part(
  part: str,
  fold: str,
  records: Iterable[Record],
  facts: Mapping[str, FileFacts] | None,
) -> PartReport:
  """Counts one part.

  Args:
    part: its name.
    fold: name of its fold.
    records: its images; the same record twice counts once.
    facts: of all its files; None if no file was opened.
  """
  records = list(dict.fromkeys(records))
  persons = collections.Counter(record.pid for record in records)
  cameras = collections.Counter(record.camid for record in records)
  named = {str(c): cameras[c] for c in sorted(cameras) if c != UNKNOWN_CAMERA}
  if UNKNOWN_CAMERA in cameras:
    named[UNKNOWN] = cameras[UNKNOWN_CAMERA]
  pixels = None
  if facts is not None:
    pixels = _count_pixels([facts[record.path] for record in records])
  return PartReport(
    part=part,
    fold=fold,
    images=len(records),
    persons=len(persons),
    single=sum(count == 1 for count in persons.values()),
    cameras=named,
    pixels=pixels,
  )


def _count_pixels(facts: Sequence[FileFacts]) -> Pixels:
  good = [fact for fact in facts if not fact.fault]
  formats = collections.Counter(fact.format for fact in good)
  return Pixels(
    width=_spread([fact.width for fact in good]),
    height=_spread([fact.height for fact in good]),
    formats=dict(sorted(formats.items())),
    unreadable=len(facts) - len(good),
  )


def _spread(values: Sequence[int]) -> Spread | None:
  if not values:
    return None
  return Spread(min(values), statistics.median_low(values), max(values))


def count_parts(
  dataset: DataSet, facts: Mapping[str, FileFacts] | None
) -> tuple[PartReport, ...]:
  """Counts train, and query and gallery of each fold.

  Args:
    dataset: the data set.
    facts: of all its files; None if no file was opened.

  Returns:
    Train if there is any, then the folds in order; with several folds also
    query and gallery of `ALL_FOLDS` together, at the end.
  """
  reports = []
  if dataset.train:
    reports.append(count_part("train", "", dataset.train, facts))
  for fold in dataset.folds:
    reports.append(count_part("query", fold.name, fold.query, facts))
    reports.append(count_part("gallery", fold.name, fold.gallery, facts))
  if len(dataset.folds) > 1:
    query = [r for fold in dataset.folds for r in fold.query]
    gallery = [r for fold in dataset.folds for r in fold.gallery]
    reports.append(count_part("query", ALL_FOLDS, query, facts))
    reports.append(count_part("gallery", ALL_FOLDS, gallery, facts))
  return tuple(reports)
