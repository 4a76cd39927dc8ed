"""Average precision of one query, in the conventions that papers report.

M matches at ranks r_1 < ... < r_M, counted from 1. The precision at match j is
j / r_j; just before it, at rank r_j - 1, it is (j - 1) / (r_j - 1).

The conventions differ by whole points of mAP on one and the same ranking, so
numbers of two conventions must never stand in one column.
"""

from __future__ import annotations

import numpy as np

INTERPOLATION_FREE = "interpolation-free"
TRAPEZOID = "trapezoid"
MAR = "mar"

AP_CONVENTIONS = (INTERPOLATION_FREE, TRAPEZOID, MAR)


def check_convention(name: str) -> None:
  """Raises ValueError if `name` is not one of `AP_CONVENTIONS`."""
  if name not in AP_CONVENTIONS:
    raise ValueError(
      f"the AP convention is {name!r}, which is not known; use one of "
      f"{', '.join(map(repr, AP_CONVENTIONS))}."
    )


def average_precision(
  ranks: np.ndarray, convention: str = INTERPOLATION_FREE
) -> float:
  """Average precision of one query.

  "interpolation-free": AP = 1/M sum_j j / r_j.
  "trapezoid": AP = 1/M sum_j (b_j + j / r_j) / 2, where b_j =
    (j - 1) / (r_j - 1) is the precision before match j, and b_1 = 1 if r_1 = 1.
  "mar": the same sum with b_1 = 1 wherever the first match stands.

  Args:
    ranks: int [M], the ranks of the matches, rising, from 1; M at least 1.
    convention: one of `AP_CONVENTIONS`.

  Returns:
    A number in (0, 1]; 1 exactly if the matches have the ranks 1 to M.

  Raises:
    ValueError: if the convention is not known.

  Source: "interpolation-free": reference fastreid/evaluation/rank.py,
    `eval_market1501`. "trapezoid": `compute_AP.m` of Market-1501 and DualNorm.
    "mar": `eval_cmc_map` of MAR, which asks for the number of the match, and
    not for its rank, when it sets the first precision to 1.
  """
  check_convention(convention)
  found = np.arange(1, ranks.size + 1)
  precision = found / ranks
  if convention != INTERPOLATION_FREE:
    # At rank 1 nothing stands before; any divisor will do, 1 is set below.
    before = (found - 1) / np.maximum(ranks - 1, 1)
    if convention == MAR or ranks[0] == 1:
      before[0] = 1.0
    precision = (before + precision) / 2
  return float(np.mean(precision))
