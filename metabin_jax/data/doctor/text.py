"""Sets a report as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from metabin_jax.data.doctor import parts
from metabin_jax.data.doctor.findings import Finding
from metabin_jax.data.doctor.layout import number_of, set_table, wrap
from metabin_jax.data.doctor.report import Opened, Report
from metabin_jax.data.doctor.run_text import source_lines, target_lines

_NUM_CASES = 10
_NUM_PARTS = 3
# Cases of these are a thing and what is said of it.
_STATEMENTS = ("unreadable", "unused")
_HEADINGS = ("", "images", "persons", "single", "width", "height", "formats")


def format_report(report: Report) -> str:
  """Sets a report: problems first, then notes, tables, what a run would do.

  Args:
    report: from `report.make_report`.

  Returns:
    Lines of at most 88 columns, but for long paths and formats.
  """
  lines: list[str] = []
  for title, findings in (
    ("PROBLEMS", report.problems()),
    ("NOTES", report.notes()),
  ):
    if findings:
      lines.append(f"{title} ({len(findings)})")
      for finding in findings:
        lines += _finding_lines(finding)
      lines.append("")
  for each, counted, enlarged in zip(
    report.opened, report.parts, report.enlarged, strict=True
  ):
    lines += _dataset_lines(each, counted)
    if enlarged is not None:
      lines.append(
        f"  images that are enlarged to {report.settings.height}x"
        f"{report.settings.width} (height x width): {enlarged}"
      )
    lines.append("")
  if report.sources is not None:
    lines += [*source_lines(report.sources), ""]
  for target in report.targets:
    lines += [*target_lines(target), ""]
  lines.append(
    f"{number_of(len(report.problems()), 'problem')}, "
    f"{number_of(len(report.notes()), 'note')}"
  )
  return "\n".join(lines)


def _finding_lines(finding: Finding) -> list[str]:
  about = f"{finding.dataset}: " if finding.dataset else ""
  lines = wrap(f"{about}{finding.text}", "* ")
  for case in finding.cases[:_NUM_CASES]:
    more = f" and {len(case) - _NUM_PARTS} more"
    joint = ": " if finding.kind in _STATEMENTS else ", "
    shown = joint.join(case[:_NUM_PARTS])
    lines.append(f"    {shown}{more if len(case) > _NUM_PARTS else ''}")
  left = len(finding.cases) - _NUM_CASES
  if left > 0:
    lines.append(f"    and {left} more; --json=FILE lists all")
  return lines


def _dataset_lines(
  opened: Opened, counted: Sequence[parts.PartReport]
) -> list[str]:
  dataset = opened.dataset
  title = f"{dataset.name}: read as {opened.spec}"
  if opened.guessed:
    title += "; write another reader to change it"
  lines = [title]
  known = dataset.provenance
  if known.public:
    variant = f", {known.variant}" if known.variant else ""
    lines.append(f"  public data set {known.public}{variant}")
  shown = _shown_parts(counted)
  opened_files = any(part.pixels is not None for _, part in shown)
  headings = _HEADINGS if opened_files else _HEADINGS[:4]
  rows = [[title, *_cells(part)][: len(headings)] for title, part in shown]
  lines += set_table([list(headings), *rows])
  for title, part in shown:
    cameras = ", ".join(f"{k}:{n}" for k, n in part.cameras.items())
    number = len(part.cameras)
    lines += wrap(f"{title}: {number_of(number, 'camera')} ({cameras})")
  if opened_files:
    lines.append("  width and height in pixels: smallest/median/largest")
  return lines


def _shown_parts(
  counted: Sequence[parts.PartReport],
) -> list[tuple[str, parts.PartReport]]:
  """Each part, several folds as one."""
  folds = {part.fold for part in counted if part.part != "train"}
  several = parts.ALL_FOLDS in folds
  shown = []
  for part in counted:
    if part.part == "train":
      shown.append((part.part, part))
    elif part.fold == parts.ALL_FOLDS:
      shown.append((f"{part.part}, {len(folds) - 1} folds", part))
    elif not several:
      shown.append((part.part, part))
  return shown


def _cells(part: parts.PartReport) -> list[str]:
  cells = [str(n) for n in (part.images, part.persons, part.single)]
  if part.pixels is None:
    return cells
  for spread in (part.pixels.width, part.pixels.height):
    cells.append("-" if spread is None else "/".join(map(str, spread)))
  formats = [f"{name} {n}" for name, n in part.pixels.formats.items()]
  if part.pixels.unreadable:
    formats.append(f"unreadable {part.pixels.unreadable}")
  return [*cells, ", ".join(formats)]
