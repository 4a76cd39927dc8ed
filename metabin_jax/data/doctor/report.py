"""Puts together what is found about some data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metabin_jax.data.doctor import (
  duplicates,
  files,
  labels,
  parts,
  source_preview,
  target_preview,
)
from metabin_jax.data.doctor.files import FileFacts
from metabin_jax.data.doctor.findings import NOTE, PROBLEM, Finding
from metabin_jax.data.records import DataSet

_FORMAT = "metabin-check-1"


class Settings(NamedTuple):
  """What a run would be configured to.

  Attributes:
    height: rows of the network's images, in pixels.
    width: columns, in pixels.
    batch_size: B.
    instances: K, images a person in a batch.
    num_mtrain: meta-train domains.
    cross_camera: whether a test leaves out gallery images of the query's person
      and camera.
  """

  height: int
  width: int
  batch_size: int
  instances: int
  num_mtrain: int
  cross_camera: bool


class Opened(NamedTuple):
  """A data set and how it was opened.

  Attributes:
    dataset: what was read.
    spec: the description it was read by.
    guessed: whether the description is a guess.
    folder: its folder if all images below it ought to be used, else "".
  """

  dataset: DataSet
  spec: str
  guessed: bool
  folder: str


@dataclasses.dataclass(frozen=True)
class Report:
  """Everything that was found.

  Attributes:
    opened: the data sets.
    parts: counts of each, in the same order.
    enlarged: how many readable images of each are smaller than the network's
      images in height or width; None if no file was opened.
    sources: training on all of them together, None if that is not possible.
    targets: tests on each that has folds.
    findings: problems first.
    settings: what the previews assume.
  """

  opened: tuple[Opened, ...]
  parts: tuple[tuple[parts.PartReport, ...], ...]
  enlarged: tuple[int | None, ...]
  sources: source_preview.SourcePreview | None
  targets: tuple[target_preview.TargetPreview, ...]
  findings: tuple[Finding, ...]
  settings: Settings

  def problems(self) -> list[Finding]:
    """Findings to mend."""
    return [f for f in self.findings if f.severity == PROBLEM]

  def notes(self) -> list[Finding]:
    """Findings to know."""
    return [f for f in self.findings if f.severity == NOTE]


def make_report(
  opened: Sequence[Opened],
  facts: Mapping[str, FileFacts] | None,
  settings: Settings,
) -> Report:
  """Looks for everything.

  Args:
    opened: the data sets.
    facts: from `files.examine_all`, of all their files; None to look at labels
      alone.
    settings: of the run that is previewed.

  Returns:
    The report; nothing is raised for what is wrong with the data.
  """
  datasets = [each.dataset for each in opened]
  findings = labels.find_all(datasets)
  for each in opened:
    if each.folder:
      findings += labels.find_unused(each.dataset, each.folder)
    if facts is not None:
      findings += files.find_unreadable(each.dataset, facts)
  findings += duplicates.find_duplicates(
    datasets, facts, cross_camera=settings.cross_camera
  )
  sources, found = source_preview.preview_sources(
    datasets,
    batch_size=settings.batch_size,
    instances=settings.instances,
    num_mtrain=settings.num_mtrain,
  )
  findings += found
  targets, found = target_preview.preview_targets(
    datasets, cross_camera=settings.cross_camera
  )
  findings += found
  findings.sort(key=lambda finding: finding.severity != PROBLEM)
  return Report(
    opened=tuple(opened),
    parts=tuple(parts.count_parts(d, facts) for d in datasets),
    enlarged=tuple(_count_small(d, facts, settings) for d in datasets),
    sources=sources,
    targets=tuple(targets),
    findings=tuple(findings),
    settings=settings,
  )


def _count_small(
  dataset: DataSet,
  facts: Mapping[str, FileFacts] | None,
  settings: Settings,
) -> int | None:
  if facts is None:
    return None
  found = [facts[p] for p in {r.path for r in files.all_records(dataset)}]
  return sum(
    not fact.fault
    and (fact.height < settings.height or fact.width < settings.width)
    for fact in found
  )


def to_json(report: Report) -> dict[str, Any]:
  """The report as plain data, for `json`: all that is printed, and all cases.

  Args:
    report: from `make_report`.

  Returns:
    {"format", "settings", "problems", "notes", "datasets", "run"}.
  """
  return {
    "format": _FORMAT,
    "settings": report.settings._asdict(),
    "problems": [finding.to_json() for finding in report.problems()],
    "notes": [finding.to_json() for finding in report.notes()],
    "datasets": [
      {
        "name": each.dataset.name,
        "spec": each.spec,
        "guessed": each.guessed,
        "provenance": dataclasses.asdict(each.dataset.provenance),
        "parts": [_part_json(part) for part in counted],
        "enlarged": enlarged,
      }
      for each, counted, enlarged in zip(
        report.opened, report.parts, report.enlarged, strict=True
      )
    ],
    "run": {
      "sources": _sources_json(report.sources),
      "targets": [_target_json(target) for target in report.targets],
    },
  }


def _part_json(part: parts.PartReport) -> dict[str, Any]:
  data = dataclasses.asdict(part)
  if part.pixels is not None:
    for side in ("width", "height"):
      spread = getattr(part.pixels, side)
      data["pixels"][side] = None if spread is None else spread._asdict()
  return data


def _sources_json(
  preview: source_preview.SourcePreview | None,
) -> dict[str, Any] | None:
  if preview is None:
    return None
  data = dataclasses.asdict(preview)
  for kind in ("base_sizes", "meta_sizes"):
    sizes = getattr(preview, kind)
    data[kind] = None if sizes is None else sizes._asdict()
  return data


def _target_json(preview: target_preview.TargetPreview) -> dict[str, Any]:
  data = dataclasses.asdict(preview)
  for fold, values in data["folds"].items():
    report = preview.folds[fold].report
    if report is not None:
      values["report"]["examples"] = [
        {"path": r.path, "pid": r.pid, "camid": r.camid, "reason": reason}
        for r, reason in report.examples
      ]
  return data
