"""Looks for mistakes in data sets before any computing is spent on them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterable, Sequence

from metabin_jax.data import overlaps, splits
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Fold, Record
from metabin_jax.errors import UserError

NO_OTHER_IMAGE = "no other image of the person"
SAME_CAMERA_ONLY = "only under the same camera"
_NUM_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class DomainCount:
  """Size of one source domain; single = persons with only one image in it."""

  domain: str
  num_images: int
  num_pids: int
  num_cameras: int
  num_single: int


@dataclasses.dataclass(frozen=True)
class SourceReport:
  """What `check_sources` found; `notes` are sentences for the user."""

  domains: tuple[DomainCount, ...]
  num_images: int
  num_pids: int
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FoldReport:
  """What `check_targets` found in one fold.

  Attributes:
    dataset: name of the target.
    fold: name of the fold.
    num_query: number of queries.
    num_gallery: number of gallery images.
    num_valid: queries with at least one match in the gallery.
    invalid: number of other queries, by reason.
    examples: up to three queries without a match, with the reason.
    notes: sentences for the user.
  """

  dataset: str
  fold: str
  num_query: int
  num_gallery: int
  num_valid: int
  invalid: dict[str, int]
  examples: tuple[tuple[Record, str], ...]
  notes: tuple[str, ...]


def check_sources(
  datasets: Sequence[DataSet], *, meta: bool = True
) -> SourceReport:
  """Checks the training data.

  Args:
    datasets: the sources, in the order of the configuration.
    meta: whether the method splits domains into meta-train and meta-test.

  Returns:
    Counts by domain, and notes about persons with a single image: those are
    allowed, the sampler repeats the image.

  Raises:
    UserError: if there is no source, two have one name or are known to show the
      same persons, one has no training image, or `meta` is set and there is
      only one domain.
  """
  if not datasets:
    raise UserError("no source data set is given; name at least one.")
  _reject_same_names(datasets)
  overlaps.reject_among_sources(datasets)
  for dataset in datasets:
    if not dataset.train:
      raise UserError(
        f"source {dataset.name!r} has no training image"
        + (", only queries and gallery" if dataset.folds else "")
        + "; remove it from the sources or mark images as train."
      )
  records = [record for dataset in datasets for record in dataset.train]
  domains = _count_domains(records)
  if meta and len(domains) < 2:
    raise UserError(
      f"only one domain ({domains[0].domain}): a meta step needs at least 2 to "
      "split into meta-train and meta-test; add a source or use domain=camera."
    )
  notes = tuple(
    f"domain {count.domain!r}: {count.num_single} of {count.num_pids} persons "
    "have a single image, which is repeated within a batch"
    for count in domains
    if count.num_single
  )
  num_pids = len({record.pid for record in records})
  return SourceReport(domains, len(records), num_pids, notes)


@dataclasses.dataclass(frozen=True)
class UnlabelledReport:
  """What `check_unlabelled` found."""

  num_images: int
  num_views: int


def check_unlabelled(
  sources: Sequence[DataSet],
  datasets: Sequence[DataSet],
  *,
  cameras: bool = True,
) -> UnlabelledReport:
  """Checks images that are to be learned from without labels.

  Args:
    sources: the labelled training data.
    datasets: the others.
    cameras: whether the method compares camera views.

  Returns:
    Counts.

  Raises:
    UserError: if there is none, one has the name of a source or is known to
      show its persons, has no training image, or shares image files with a
      source; with `cameras`, if a camera is not known.
  """
  if not datasets:
    raise UserError(
      "method 'mar' learns from images without labels, and data.unlabelled "
      "names none; name at least one data set that has train images."
    )
  _reject_same_names([*sources, *datasets])
  overlaps.reject_among_sources([*sources, *datasets])
  files = _file_keys(r for source in sources for r in source.train)
  for dataset in datasets:
    if not dataset.train:
      raise UserError(
        f"{dataset.name!r} of data.unlabelled has no training image; mark "
        "images as train, or remove it."
      )
    keys = _file_keys(dataset.train)
    same = sorted(path for key, path in keys.items() if key in files)
    if same:
      raise UserError(
        f"{dataset.name!r} of data.unlabelled shares {len(same)} image files "
        f"with the sources, such as {', '.join(same[:_NUM_EXAMPLES])}; leave "
        "them out of one of the two."
      )
    unknown = [r for r in dataset.train if r.camid == UNKNOWN_CAMERA]
    if cameras and unknown:
      raise UserError(
        f"{len(unknown)} images of {dataset.name!r} have no camera number, "
        f"first {unknown[0].path}, and L_CML compares camera views; add the "
        "numbers, or switch that loss off by mar.view_weight=0."
      )
  records = [record for dataset in datasets for record in dataset.train]
  views = {(record.domain, record.camid) for record in records}
  return UnlabelledReport(len(records), len(views))


def _reject_same_names(datasets: Sequence[DataSet]) -> None:
  counts = collections.Counter(dataset.name for dataset in datasets)
  for name, count in counts.items():
    if count > 1:
      raise UserError(
        f"{count} data sets are named {name!r}, so their persons would be "
        "mixed up; tell them apart by ?name=..."
      )


def _count_domains(records: Iterable[Record]) -> tuple[DomainCount, ...]:
  images: dict[str, collections.Counter[str]] = {}
  cameras: dict[str, set[int]] = {}
  for record in records:
    images.setdefault(record.domain, collections.Counter())[record.pid] += 1
    cameras.setdefault(record.domain, set()).add(record.camid)
  return tuple(
    DomainCount(
      domain=domain,
      num_images=counts.total(),
      num_pids=len(counts),
      num_cameras=len(cameras[domain] - {UNKNOWN_CAMERA}),
      num_single=sum(n == 1 for n in counts.values()),
    )
    for domain, counts in images.items()
  )


def check_targets(
  sources: Sequence[DataSet],
  targets: Sequence[DataSet],
  *,
  cross_camera: bool = True,
) -> tuple[FoldReport, ...]:
  """Checks the test data, and that the model does not train on it.

  Args:
    sources: data sets whose `train` images are trained on; may be empty.
    targets: data sets whose folds are tested.
    cross_camera: whether gallery images of the query's person under the
      query's own camera are left out, as is the custom; unknown cameras never
      count as the same.

  Returns:
    One report a fold, in order.

  Raises:
    UserError: if a target has no fold, two equal folds, shares persons or
      files with a source or is known to, or has a fold where no query has a
      match.
  """
  _reject_same_names(targets)
  files = _file_keys(r for source in sources for r in source.train)
  pids = {record.pid for source in sources for record in source.train}
  reports = []
  for target in targets:
    if not target.folds:
      raise UserError(
        f"target {target.name!r} has no query and gallery images; remove it "
        "from the targets or mark images as query and gallery."
      )
    _reject_equal_folds(target)
    for source in sources:
      overlaps.reject_source_of_target(source, target)
    _reject_shared(target, pids, files)
    reports += [
      _check_fold(target.name, fold, cross_camera) for fold in target.folds
    ]
  return tuple(reports)


def _reject_equal_folds(target: DataSet) -> None:
  # A spread of 0 over "ten" folds is the sign of one fold read ten times.
  for first, second in itertools.combinations(target.folds, 2):
    # A public protocol draws persons anew for each fold; in data of one's own
    # the same queries may be asked of other galleries.
    same = splits.same_split(first, second)
    if same or (
      target.provenance.public and set(first.query) == set(second.query)
    ):
      raise UserError(
        f"folds {first.name!r} and {second.name!r} of target {target.name!r} "
        f"have the same queries{' and gallery' if same else ''}, so their mean "
        "would count one split twice; correct its split lists or remove one "
        "of the folds."
      )


def _file_keys(records: Iterable[Record]) -> dict[object, str]:
  return {_file_key(path): path for path in {r.path for r in records}}


def _file_key(path: str) -> object:
  # Device and inode see through links of either kind at the price of one
  # stat; os.path.realpath would cost one call for each parent folder.
  try:
    status = os.stat(path)
  except OSError:
    return path
  if not status.st_ino:
    return os.path.realpath(path)
  return status.st_dev, status.st_ino


def _reject_shared(
  target: DataSet, pids: set[str], files: dict[object, str]
) -> None:
  records = [r for fold in target.folds for r in fold.query + fold.gallery]
  shared = sorted({record.pid for record in records} & pids)
  if shared:
    raise UserError(
      f"target {target.name!r} shares {len(shared)} persons with the sources, "
      f"such as {', '.join(shared[:_NUM_EXAMPLES])}; test on persons that are "
      "not trained on."
    )
  if not files:
    return
  keys = _file_keys(records)
  same = sorted(path for key, path in keys.items() if key in files)
  if same:
    raise UserError(
      f"target {target.name!r} shares {len(same)} image files with the "
      f"sources, such as {', '.join(same[:_NUM_EXAMPLES])}; test on images "
      "that are not trained on."
    )


def _check_fold(name: str, fold: Fold, cross_camera: bool) -> FoldReport:
  cameras: dict[str, set[int]] = {}
  for record in fold.gallery:
    cameras.setdefault(record.pid, set()).add(record.camid)
  bad: list[tuple[Record, str]] = []
  for query in fold.query:
    found = cameras.get(query.pid, set())
    if not found:
      bad.append((query, NO_OTHER_IMAGE))
    elif (
      cross_camera and query.camid != UNKNOWN_CAMERA and found == {query.camid}
    ):
      bad.append((query, SAME_CAMERA_ONLY))
  invalid = dict(collections.Counter(reason for _, reason in bad))
  examples = tuple(bad[:_NUM_EXAMPLES])
  num_valid = len(fold.query) - len(bad)
  if not num_valid:
    raise UserError(_no_valid_query(name, fold, invalid, examples))
  notes = []
  if bad:
    notes.append(
      f"{name} fold {fold.name}: {len(bad)} of {len(fold.query)} queries "
      f"cannot be scored ({_describe(invalid)}), such as "
      f"{_describe_examples(examples)}"
    )
  twice = {r.path for r in fold.query} & {r.path for r in fold.gallery}
  if twice:
    notes.append(
      f"{name} fold {fold.name}: {len(twice)} query images are in the gallery "
      "too"
    )
  return FoldReport(
    dataset=name,
    fold=fold.name,
    num_query=len(fold.query),
    num_gallery=len(fold.gallery),
    num_valid=num_valid,
    invalid=invalid,
    examples=examples,
    notes=tuple(notes),
  )


def _no_valid_query(
  name: str,
  fold: Fold,
  invalid: dict[str, int],
  examples: tuple[tuple[Record, str], ...],
) -> str:
  mend = "add gallery images of the queried persons"
  if invalid.get(SAME_CAMERA_ONLY):
    mend += (
      ", correct or leave out the camera numbers, or allow matches under the "
      "same camera (--cross-camera=off)"
    )
  return (
    f"target {name!r}, fold {fold.name!r}: none of the {len(fold.query)} "
    f"queries has a match in the gallery ({_describe(invalid)}), such as "
    f"{_describe_examples(examples)}; {mend}."
  )


def _describe(invalid: dict[str, int]) -> str:
  return ", ".join(f"{reason}: {count}" for reason, count in invalid.items())


def _describe_examples(examples: tuple[tuple[Record, str], ...]) -> str:
  return "; ".join(
    f"{record.path} (pid {record.pid}, camid {record.camid}, {reason})"
    for record, reason in examples
  )
