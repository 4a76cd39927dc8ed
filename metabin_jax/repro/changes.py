"""What another way of scoring changes in the very same runs.

Seeds differ by more than most ways of adapting do: only the difference within
each run tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metabin_jax.repro.spread import spread

Row = Mapping[str, Any]


def against_own(row: Row, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
  """Differences of a row to the row that scores its runs in their own way.

  Args:
    row: of `collect.collect`; without another way of scoring it has none.
    rows: all rows of the study.

  Returns:
    Target or "average" -> metric -> {"mean", "std": sample deviation, None for
    one seed, "values"}: theirs minus that row's, run by run, in percentage
    points. Empty without such a row, or with other seeds.
  """
  own = next(
    (r for r in rows if r["jobs"] == row["jobs"] and not r["evaluation"]), None
  )
  if not row["evaluation"] or own is None or own["seeds"] != row["seeds"]:
    return {}
  found: dict[str, dict[str, Any]] = {}
  for target, metrics in row["ours"].items():
    before = own["ours"].get(target, {})
    found[target] = {
      metric: spread(_minus(now["values"], before[metric]["values"]))
      for metric, now in metrics.items()
      if metric in before
    }
  return found


def _minus(after: Sequence[float], before: Sequence[float]) -> list[float]:
  return [a - b for a, b in zip(after, before, strict=True)]
