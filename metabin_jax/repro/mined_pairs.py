"""How well MAR mines: which pairs of a run are of one person.

The persons of the site are looked at for these counts alone.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

STAGES = ("first quarter", "last quarter")
SHARES = ("positive", "true positive", "true negative", "one person")
_COUNTS = ("pairs", "positives", "true_pairs", "true_positives")


def count(metrics: pathlib.Path) -> dict[str, dict[str, float]] | None:
  """Sums over the logged iterations of the first and the last of the mining.

  Args:
    metrics: metrics.jsonl of a run.

  Returns:
    Stage of `STAGES` -> {"pairs": mined, "positives": of these, taken for one
    person, "true_pairs", "true_positives": of each, those that are}. A quarter
    is one of the logged iterations that mined, and at least one of them. None
    where there is nothing to count.
  """
  lines = [json.loads(line) for line in metrics.read_text().splitlines()]
  keys = [f"mining/{name}" for name in _COUNTS]
  mined = [line for line in lines if all(line.get(k) is not None for k in keys)]
  mined = [line for line in mined if line["mining/pairs"]]
  if not mined:
    return None
  quarter = max(1, len(mined) // 4)
  parts = (mined[:quarter], mined[-quarter:])
  return {
    stage: {
      name: sum(line[f"mining/{name}"] for line in part) for name in _COUNTS
    }
    for stage, part in zip(STAGES, parts, strict=True)
  }


def shares(counts: Mapping[str, float]) -> dict[str, float | None]:
  """Of one stage, in percent; None for a share of nothing.

  Args:
    counts: of one stage of `count`.

  Returns:
    By the names in `SHARES`. "positive": pairs taken for one person, of all
    mined; "true positive": of these, those of one person; "true negative": of
    the others, those of two; "one person": of all mined, those of one person,
    which is what similarity alone would give.
  """
  negatives = counts["pairs"] - counts["positives"]
  missed = counts["true_pairs"] - counts["true_positives"]
  found = (
    _percent(counts["positives"], counts["pairs"]),
    _percent(counts["true_positives"], counts["positives"]),
    _percent(negatives - missed, negatives),
    _percent(counts["true_pairs"], counts["pairs"]),
  )
  return dict(zip(SHARES, found, strict=True))


def _percent(part: float, whole: float) -> float | None:
  return 100 * part / whole if whole else None
