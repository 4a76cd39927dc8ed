"""Finds one picture in several places, by the bytes of the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from metabin_jax.data.doctor.files import FileFacts
from metabin_jax.data.doctor.findings import NOTE, PROBLEM, Finding
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Record

_TRAIN, _QUERY, _GALLERY = "train", "query", "gallery"
_Case = tuple[str, ...]


class _Use(NamedTuple):
  """A picture's place."""

  dataset: str
  part: str
  fold: str
  record: Record


def find_duplicates(
  datasets: Sequence[DataSet],
  facts: Mapping[str, FileFacts] | None,
  *,
  cross_camera: bool = True,
) -> list[Finding]:
  """Compares all files with each other.

  Args:
    datasets: with different names.
    facts: of all files; None if no file was opened: then only files with the
      same path are the same picture.
    cross_camera: whether gallery images of the query's person and camera are
      left out of a test.

  Returns:
    Problems: one picture as two persons, in train and test, in several data
    sets, as query and as a match that counts. Notes: as query and as a match
    that is left out, several times in one part. Cases are sorted.
  """
  groups: dict[str, list[_Use]] = {}
  for use in _uses(datasets):
    key = use.record.path
    # Two empty files are two bad files, not one picture.
    if facts is not None and not facts[key].fault:
      key = facts[key].sha256
    groups.setdefault(key, []).append(use)
  findings: list[Finding] = []
  several: list[_Case] = []
  by_dataset: dict[str, list[list[_Use]]] = {d.name: [] for d in datasets}
  for uses in groups.values():
    if len(uses) == 1:
      continue
    names = dict.fromkeys(use.dataset for use in uses)
    if len(names) > 1:
      several.append(_case(uses))
    for name in names:
      by_dataset[name].append([use for use in uses if use.dataset == name])
  if several:
    text = f"pictures in more than one of the data sets: {len(several)}"
    findings.append(_finding(PROBLEM, "several_sets", "", text, several))
  for name, mine in by_dataset.items():
    findings += _in_one_dataset(name, mine, cross_camera)
  return findings


def _uses(datasets: Sequence[DataSet]) -> Iterator[_Use]:
  for dataset in datasets:
    for record in dataset.train:
      yield _Use(dataset.name, _TRAIN, "", record)
    for fold in dataset.folds:
      for record in fold.query:
        yield _Use(dataset.name, _QUERY, fold.name, record)
      for record in fold.gallery:
        yield _Use(dataset.name, _GALLERY, fold.name, record)


def _in_one_dataset(
  name: str, groups: Sequence[list[_Use]], cross_camera: bool
) -> list[Finding]:
  persons, parts, counting, left_out, repeated = (
    [_case(uses) for uses in groups if found(uses)]
    for found in (
      _has_several_persons,
      _is_in_train_and_test,
      lambda uses: _finds_itself(uses, cross_camera, counts=True),
      lambda uses: _finds_itself(uses, cross_camera, counts=False),
      _is_repeated,
    )
  )
  found = [
    (
      PROBLEM,
      "several_persons",
      persons,
      "pictures that are labelled as several persons: {}",
    ),
    (
      PROBLEM,
      "file_in_train_and_test",
      parts,
      "pictures both in the train part and in the test: {}",
    ),
    (
      PROBLEM,
      "query_in_gallery",
      counting,
      "pictures that are a query and, in its gallery, count as its right "
      "match: {}",
    ),
    (
      NOTE,
      "query_in_gallery_left_out",
      left_out,
      "pictures that are a query and another file in its gallery, left out "
      "there as of the same camera: {}",
    ),
    (
      NOTE,
      "repeated_file",
      repeated,
      "pictures that are several files of one person in one part: {}",
    ),
  ]
  return [
    _finding(severity, kind, name, text.format(len(cases)), cases)
    for severity, kind, cases, text in found
    if cases
  ]


def _has_several_persons(uses: Sequence[_Use]) -> bool:
  return len({use.record.pid for use in uses}) > 1


def _is_in_train_and_test(uses: Sequence[_Use]) -> bool:
  return len({use.part == _TRAIN for use in uses}) > 1


def _finds_itself(
  uses: Sequence[_Use], cross_camera: bool, *, counts: bool
) -> bool:
  """Whether a query has its own picture, rightly labelled, in the gallery.

  With `counts`, as a match that is scored; without, as another file that is
  left out. One file as both is left to the notes of `checks.check_targets`.
  """
  for query in (use for use in uses if use.part == _QUERY):
    for other in (use for use in uses if use.part == _GALLERY):
      if query.fold != other.fold or query.record.pid != other.record.pid:
        continue
      camera = query.record.camid
      same = camera != UNKNOWN_CAMERA and camera == other.record.camid
      if counts and not (cross_camera and same):
        return True
      one_file = query.record.path == other.record.path
      if not counts and cross_camera and same and not one_file:
        return True
  return False


def _is_repeated(uses: Sequence[_Use]) -> bool:
  paths: dict[tuple[str, str, str], set[str]] = {}
  for use in uses:
    place = use.part, use.fold, use.record.pid
    paths.setdefault(place, set()).add(use.record.path)
  return any(len(found) > 1 for found in paths.values())


def _case(uses: Sequence[_Use]) -> _Case:
  return tuple(
    sorted({f"{use.record.path} (pid {use.record.pid})" for use in uses})
  )


def _finding(
  severity: str, kind: str, dataset: str, text: str, cases: Sequence[_Case]
) -> Finding:
  return Finding(severity, kind, dataset, text, tuple(sorted(cases)))
