"""What a test on some data sets would be like."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

from metabin_jax.data import checks, splits
from metabin_jax.data.doctor.findings import NOTE, PROBLEM, Finding
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Fold
from metabin_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class FoldPreview:
  """One fold of a target.

  Attributes:
    report: what `checks.check_targets` counts; None if a run refuses the fold.
    queries: number of queries.
    gallery: number of gallery images.
    distractors: gallery images of persons who are not asked for.
    left_out: gallery images left out of the answers, added up over all queries:
      same person and same camera.
  """

  report: checks.FoldReport | None
  queries: int
  gallery: int
  distractors: int
  left_out: int


@dataclasses.dataclass(frozen=True)
class TargetPreview:
  """A test on one data set.

  Attributes:
    name: the data set's.
    protocol: name of its split lists, "own" if it has none of a public set.
    origin: where they come from.
    split_digest: SHA-256 of the split lists.
    folds: the folds in order, by name.
  """

  name: str
  protocol: str
  origin: str
  split_digest: str
  folds: dict[str, FoldPreview]


def preview_targets(
  datasets: Sequence[DataSet], *, cross_camera: bool
) -> tuple[list[TargetPreview], list[Finding]]:
  """Says what testing on each of the data sets would be like.

  Args:
    datasets: those without folds are passed over.
    cross_camera: whether gallery images of the query's person and camera are
      left out.

  Returns:
    The previews; and findings in the words of a run: of each fold alone, and of
    each data set as the target while the others are the sources.
  """
  previews = []
  findings = []
  for dataset in datasets:
    if not dataset.folds:
      continue
    folds = {}
    for fold in dataset.folds:
      alone = dataclasses.replace(dataset, folds=(fold,))
      report = None
      try:
        (report,) = checks.check_targets([], [alone], cross_camera=cross_camera)
      except UserError as error:
        text = f"as a target, a run ends with: {error}"
        findings.append(Finding(PROBLEM, "refused_target", dataset.name, text))
      else:
        findings += [Finding(NOTE, "target", "", note) for note in report.notes]
      folds[fold.name] = _preview_fold(fold, report, cross_camera)
    known = dataset.provenance
    previews.append(
      TargetPreview(
        name=dataset.name,
        protocol=known.protocol or "own",
        origin=known.origin,
        split_digest=splits.split_digest(dataset),
        folds=folds,
      )
    )
    findings += _beside_others(dataset, datasets, cross_camera)
  return previews, findings


def _preview_fold(
  fold: Fold, report: checks.FoldReport | None, cross_camera: bool
) -> FoldPreview:
  asked = {query.pid for query in fold.query}
  seen = collections.Counter((r.pid, r.camid) for r in fold.gallery)
  left_out = 0
  if cross_camera:
    left_out = sum(
      seen[query.pid, query.camid]
      for query in fold.query
      if query.camid != UNKNOWN_CAMERA
    )
  return FoldPreview(
    report=report,
    queries=len(fold.query),
    gallery=len(fold.gallery),
    distractors=sum(record.pid not in asked for record in fold.gallery),
    left_out=left_out,
  )


def _beside_others(
  target: DataSet, datasets: Sequence[DataSet], cross_camera: bool
) -> list[Finding]:
  """What a run says that trains on one of the other data sets."""
  alone = _refusal([], target, cross_camera)
  findings = []
  for source in datasets:
    if source is target or not source.train:
      continue
    refusal = _refusal([source], target, cross_camera)
    if refusal and refusal != alone:
      text = f"trained on {source.name!r}, a run ends with: {refusal}"
      findings.append(Finding(PROBLEM, "refused_pair", target.name, text))
  return findings


def _refusal(
  sources: Sequence[DataSet], target: DataSet, cross_camera: bool
) -> str:
  try:
    checks.check_targets(sources, [target], cross_camera=cross_camera)
  except UserError as error:
    return str(error)
  return ""
