"""Results as a table for people and as JSON for machines: the same numbers."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from metabin_jax.evaluation.summary import (
  COUNTS,
  MEAN_AP_KEYS,
  STD_SUFFIX,
  TPR_PREFIX,
  Summary,
)

AVERAGE = "average"
_NOT_RUN = "not run"
_UNKNOWN = "n/a"


class Row(NamedTuple):
  """One line of a table.

  Attributes:
    target: name of the target data set.
    method: name of the method or model.
    summary: from `summarize`, or from `combine_folds` for several folds.
  """

  target: str
  method: str
  summary: Mapping[str, float | None]


def format_table(rows: Iterable[Row], ranks: Sequence[int] = (1, 5, 10)) -> str:
  """Sets the results as a text table, in percent with one decimal.

  Args:
    rows: any `(target, method, summary)`; shown in this order.
    ranks: which rank-k columns to show; a summary without one shows "-".

  Returns:
    The table, without a newline at its end. Each AP convention among the rows
    has a column of its own that names it, plain "mAP" being the usual one;
    "TPR@<FPR>" columns are there if a row has a number for them, "n/a" where
    the pairs are too few for the rate. Several folds show mean and population
    standard deviation. With two targets or more, each method gets an average
    row, the unweighted mean over the targets, and the deviation of that mean
    if the folds of the targets are drawn independently: the root of the sum of
    variances, divided by the number of targets. A method without a result for
    one of the targets shows "not run" there.

  Raises:
    ValueError: if two rows have the same target and method.
  """
  heading, lines, averages = cells(rows, ranks)
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


def cells(
  rows: Iterable[Row], ranks: Sequence[int] = (1, 5, 10)
) -> tuple[list[str], list[list[str]], list[list[str]]]:
  """What stands in the table of `format_table`, as text.

  Args:
    rows: as for `format_table`.
    ranks: as for `format_table`.

  Returns:
    (heading, a line for each row, a line for each method's average over the
    targets), all of one length, targets and methods first.

  Raises:
    ValueError: if two rows have the same target and method.
  """
  rows = _checked(rows)
  metrics = [f"rank-{k}" for k in ranks] + _metrics_beside_ranks(rows)
  headings = [name.replace(TPR_PREFIX, "TPR@") for name in metrics]
  heading = ["target", "method", *headings, "valid/queries", "folds"]
  lines = [
    [
      row.target,
      row.method,
      *(_percent(row.summary, metric) for metric in metrics),
      f"{row.summary['num_valid']}/{row.summary['num_query']}",
      f"{row.summary.get('folds', 1)}",
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
  return heading, lines, averages


def to_json(rows: Iterable[Row]) -> dict[str, Any]:
  """The numbers of the table as plain data.

  Args:
    rows: as for `format_table`.

  Returns:
    {"results": [{"target", "method", "folds", "ap": the AP convention, every
    entry of the summary}], "average": [{"method", "targets", every share and,
    for several folds, its deviation}]}; shares in [0, 1], None (JSON's null)
    where one cannot be known. The average lists only methods that were run on
    every target.

  Raises:
    ValueError: if two rows have the same target and method.
  """
  rows = _checked(rows)
  results = [
    {"target": row.target, "method": row.method, "folds": 1}
    | _convention(row.summary)
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


def _metrics_beside_ranks(rows: Sequence[Row]) -> list[str]:
  """The columns after rank-k that these rows need."""
  present = {
    key for row in rows for key, v in row.summary.items() if v is not None
  }
  mean_ap = [key for key in MEAN_AP_KEYS if key in present]
  tpr = [key for key in present if key.startswith(TPR_PREFIX)]
  tpr = [key for key in tpr if not key.endswith(STD_SUFFIX)]
  tpr.sort(key=lambda key: float(key.removeprefix(TPR_PREFIX)))
  return [*mean_ap, "mINP", *tpr]


def _convention(summary: Mapping[str, float | None]) -> dict[str, str]:
  """{"ap": the convention of its average precision}, empty if it has none."""
  names = [name for key, name in MEAN_AP_KEYS.items() if key in summary]
  return {"ap": names[0]} if names else {}


def _averages(rows: Sequence[Row]) -> dict[str, Summary | None]:
  """Mean over the targets for each method; None where a target is missing."""
  targets = {row.target for row in rows}
  averages: dict[str, Summary | None] = {}
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
    means = {
      key: _mean([summary[key] for summary in summaries]) for key in shared
    }
    averages[method] = means
    if all(summary.get("folds", 1) != 1 for summary in summaries):
      averages[method] = means | {
        key + STD_SUFFIX: _spread([s[key + STD_SUFFIX] for s in summaries])
        for key in shared
      }
  return averages


def _mean(values: Sequence[float | None]) -> float | None:
  known = [value for value in values if value is not None]
  return float(sum(known) / len(known)) if len(known) == len(values) else None


def _spread(values: Sequence[float | None]) -> float | None:
  """Standard deviation of a mean of independent numbers, from theirs."""
  known = [value for value in values if value is not None]
  if len(known) < len(values):
    return None
  return math.sqrt(sum(value**2 for value in known)) / len(known)


def _percent(summary: Mapping[str, float | None], metric: str) -> str:
  if metric not in summary:
    return "-"
  share, spread = summary[metric], summary.get(metric + STD_SUFFIX)
  if share is None:
    return _UNKNOWN
  text = f"{100 * share:.1f}"
  if summary.get("folds") != 1 and spread is not None:
    text += f" ± {100 * spread:.1f}"
  return text


def _plain(value: Any) -> Any:
  """NumPy scalars as Python numbers."""
  return value.item() if hasattr(value, "item") else value
