"""Results as a table for people and as JSON for machines: the same numbers."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from metabin_jax.evaluation.summary import COUNTS, STD_SUFFIX

AVERAGE = "average"
_NOT_RUN = "not run"


class Row(NamedTuple):
  """One line of a table.

  Attributes:
    target: name of the target data set.
    method: name of the method or model.
    summary: from `summarize`, or from `combine_folds` for several folds.
  """

  target: str
  method: str
  summary: Mapping[str, float]


def format_table(rows: Iterable[Row], ranks: Sequence[int] = (1, 5, 10)) -> str:
  """Sets the results as a text table, in percent with one decimal.

  Args:
    rows: any `(target, method, summary)`; shown in this order.
    ranks: which rank-k columns to show; a summary without one shows "-".

  Returns:
    The table, without a newline at its end. Several folds show mean and
    population standard deviation. With two targets or more, each method gets
    an average row, the unweighted mean over the targets; a method without a
    result for one of the targets shows "not run" there.

  Raises:
    ValueError: if two rows have the same target and method.
  """
  rows = _checked(rows)
  metrics = [f"rank-{k}" for k in ranks] + ["mAP", "mINP"]
  heading = ["target", "method", *metrics, "valid/queries", "folds"]
  lines = [
    [
      row.target,
      row.method,
      *(_percent(row.summary, metric) for metric in metrics),
      f"{row.summary['num_valid']:d}/{row.summary['num_query']:d}",
      f"{row.summary.get('folds', 1):d}",
    ]
    for row in rows
  ]
  averages = [
    [
      AVERAGE,
      method,
      *(
        [_percent(means, metric) for metric in metrics]
        if means is not None
        else [_NOT_RUN] * len(metrics)
      ),
      "",
      "",
    ]
    for method, means in _averages(rows).items()
  ]
  body = [heading, *lines, *averages]
  widths = [max(len(line[i]) for line in body) for i in range(len(heading))]

  def set_line(cells: Sequence[str]) -> str:
    padded = [
      cell.ljust(width) if column < 2 else cell.rjust(width)
      for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()

  rule = "  ".join("-" * width for width in widths)
  parts = [set_line(heading), rule, *map(set_line, lines)]
  if averages:
    parts += [rule, *map(set_line, averages)]
  return "\n".join(parts)


def to_json(rows: Iterable[Row]) -> dict[str, Any]:
  """The numbers of the table as plain data.

  Args:
    rows: as for `format_table`.

  Returns:
    {"results": [{"target", "method", "folds", every entry of the summary}],
    "average": [{"method", "targets", every share}]}; shares in [0, 1]. The
    average lists only methods that were run on every target.

  Raises:
    ValueError: if two rows have the same target and method.
  """
  rows = _checked(rows)
  results = [
    {"target": row.target, "method": row.method, "folds": 1}
    | {key: _plain(value) for key, value in row.summary.items()}
    for row in rows
  ]
  targets = list(dict.fromkeys(row.target for row in rows))
  averages = [
    {"method": method, "targets": targets} | means
    for method, means in _averages(rows).items()
    if means is not None
  ]
  return {"results": results, "average": averages}


def save_json(path: str | os.PathLike[str], data: Any) -> None:
  """Writes `data` as JSON; the file is either complete or not there.

  Args:
    path: file to write; its folder must exist. An older file is replaced.
    data: what `json` can write, without NaN or infinity.

  Raises:
    ValueError: if a number is not finite.
  """
  path = pathlib.Path(path)
  text = json.dumps(data, indent=2, allow_nan=False) + "\n"
  part = path.with_name(f".{path.name}.part-{os.getpid()}")
  try:
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def _checked(rows: Iterable[Row]) -> list[Row]:
  checked: list[Row] = []
  seen: set[tuple[str, str]] = set()
  for row in rows:
    row = Row(*row)
    if (row.target, row.method) in seen:
      raise ValueError(
        f"target {row.target!r} with method {row.method!r} is listed twice; "
        "give each run its own method name."
      )
    seen.add((row.target, row.method))
    checked.append(row)
  return checked


def _averages(rows: Sequence[Row]) -> dict[str, dict[str, float] | None]:
  """Mean over the targets for each method; None where a target is missing."""
  targets = {row.target for row in rows}
  averages: dict[str, dict[str, float] | None] = {}
  if len(targets) < 2:
    return averages
  for method in dict.fromkeys(row.method for row in rows):
    summaries = [row.summary for row in rows if row.method == method]
    if len(summaries) < len(targets):
      averages[method] = None
      continue
    shared = [
      key
      for key in summaries[0]
      if key not in (*COUNTS, "folds")
      and not key.endswith(STD_SUFFIX)
      and all(key in summary for summary in summaries)
    ]
    averages[method] = {
      key: float(sum(summary[key] for summary in summaries) / len(summaries))
      for key in shared
    }
  return averages


def _percent(summary: Mapping[str, float], metric: str) -> str:
  if metric not in summary:
    return "-"
  text = f"{100 * summary[metric]:.1f}"
  if summary.get("folds", 1) > 1:
    text += f" ± {100 * summary[metric + STD_SUFFIX]:.1f}"
  return text


def _plain(value: Any) -> Any:
  """NumPy scalars as Python numbers."""
  return value.item() if hasattr(value, "item") else value
