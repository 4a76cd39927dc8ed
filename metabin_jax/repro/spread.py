"""Mean and deviation of one number over the seeds, as tables hold it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, Any]:
  """{"mean", "std": sample deviation, None for one value, "values"}."""
  deviation = statistics.stdev(values) if len(values) > 1 else None
  return {
    "mean": statistics.fmean(values),
    "std": deviation,
    "values": list(values),
  }
