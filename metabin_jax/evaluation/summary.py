"""From per-query results to the numbers of a table: rank-k, mAP, mINP, TPR."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation.average_precision import (
  AP_CONVENTIONS,
  INTERPOLATION_FREE,
)
from metabin_jax.evaluation.ranking import UNKNOWN_CAMERA, Ranking, Reason

Summary = dict[str, float | None]
"""Numbers by name; None where a number cannot be known ("n/a" in a table)."""

COUNTS = (
  "num_query",
  "num_valid",
  "invalid_no_match",
  "invalid_same_camera",
  "num_genuine",
  "num_impostor",
)
"""Keys of a summary that count; every other key is a share."""

STD_SUFFIX = "/std"
TPR_PREFIX = "TPR@FPR="
_EXAMPLES = 3


def mean_ap_key(convention: str = INTERPOLATION_FREE) -> str:
  """Name of the mean average precision; says any convention but the usual."""
  return "mAP" if convention == INTERPOLATION_FREE else f"mAP ({convention})"


MEAN_AP_KEYS = {mean_ap_key(name): name for name in AP_CONVENTIONS}
"""AP convention by the key under which a summary has its mean."""


def summarize(ranking: Ranking, ranks: Sequence[int] = (1, 5, 10)) -> Summary:
  """Means over the valid queries.

  Args:
    ranking: what `rank_queries` or `rank_distances` returned.
    ranks: the k of the rank-k entries, each at least 1.

  Returns:
    "rank-<k>", "mAP" and "mINP" in [0, 1]; the mAP of another AP convention
    than the usual one is named "mAP (<convention>)". With a ROC then
    "TPR@FPR=<rate>" for each rate, None where the pairs are too few. Then the
    counts "num_query", "num_valid", "invalid_no_match" (no image of the person
    in the gallery), "invalid_same_camera" (only images from the query's own
    camera), and with a ROC the pairs "num_genuine" and "num_impostor".

  Raises:
    UserError: if no query is valid; the message says why and what to change.
    ValueError: if a rank is below 1.

  Source: reference fastreid/evaluation/reid_evaluation.py (Python path).
    Differs: the reference's Cython path divides AP and INP by all queries, and
    its TPR@FPR has the labels of the pairs swapped, see docs/metrics.md.
  """
  valid = ranking.valid
  if not valid.any():
    raise UserError(explain_invalid(ranking) or "there are no queries to rank.")
  curve = cmc(ranking, max(ranks, default=1))
  if min(ranks, default=1) < 1:
    raise ValueError(f"ranks are {tuple(ranks)}; the best rank is 1.")
  summary: Summary = {f"rank-{k}": float(curve[k - 1]) for k in ranks}
  summary[mean_ap_key(ranking.ap_convention)] = float(ranking.ap[valid].mean())
  summary["mINP"] = float(ranking.inp[valid].mean())
  if ranking.roc is not None:
    for rate, share in ranking.roc.rates:
      summary[f"{TPR_PREFIX}{rate:g}"] = share
  summary["num_query"] = int(valid.size)
  summary["num_valid"] = int(valid.sum())
  summary["invalid_no_match"] = int((ranking.reason == Reason.NO_MATCH).sum())
  summary["invalid_same_camera"] = int(
    (ranking.reason == Reason.SAME_CAMERA).sum()
  )
  if ranking.roc is not None:
    summary["num_genuine"] = ranking.roc.num_genuine
    summary["num_impostor"] = ranking.roc.num_impostor
  return summary


def cmc(ranking: Ranking, max_rank: int) -> np.ndarray:
  """Cumulative matching characteristic.

  Args:
    ranking: at least one query must be valid.
    max_rank: length of the curve, at least 1; it may exceed the gallery.

  Returns:
    float64 [max_rank]; entry k - 1 is the share of the valid queries whose
    first match is among the k nearest kept gallery images.

  Raises:
    UserError: if no query is valid.
    ValueError: if `max_rank` is below 1.
  """
  if max_rank < 1:
    raise ValueError(f"max_rank is {max_rank}; the best rank is 1.")
  first = ranking.first_rank[ranking.valid]
  if not first.size:
    raise UserError(explain_invalid(ranking) or "there are no queries to rank.")
  counts = np.bincount(np.minimum(first, max_rank + 1), minlength=max_rank + 2)
  return np.cumsum(counts[1 : max_rank + 1]) / first.size


def combine_folds(summaries: Sequence[Mapping[str, float | None]]) -> Summary:
  """Mean and spread over the folds of one protocol.

  Args:
    summaries: one `summarize` result for each fold, all with the same keys.

  Returns:
    Every share as its unweighted mean, beside it "<key>/std", the population
    standard deviation (divisor n), both None if a fold has None; every count
    as its sum; "folds", their number. One fold gives standard deviations of 0.

  Raises:
    ValueError: if there is no fold or the keys differ.

  Source: the reference's `ALL_*` rows: arithmetic mean over the splits, ddof 0.
  """
  if not summaries:
    raise ValueError("no folds to combine; evaluate at least one.")
  keys = list(summaries[0])
  for index, summary in enumerate(summaries):
    if list(summary) != keys:
      raise ValueError(
        f"fold {index} has entries {list(summary)}, fold 0 has {keys}."
      )
  combined: Summary = {}
  for key in keys:
    known = [summary[key] for summary in summaries]
    values = [value for value in known if value is not None]
    if len(values) < len(known):
      combined[key] = combined[key + STD_SUFFIX] = None
      continue
    if key in COUNTS:
      combined[key] = sum(values)
      continue
    mean = math.fsum(values) / len(values)
    # fsum of equal values may miss their mean by a rounding; a spread of
    # exactly 0 must show as 0, it is the sign of folds that do not differ.
    if len(set(values)) == 1:
      mean = values[0]
    spread = math.fsum((value - mean) ** 2 for value in values) / len(values)
    combined[key] = mean
    combined[key + STD_SUFFIX] = math.sqrt(spread)
  combined["folds"] = len(summaries)
  return combined


def explain_invalid(
  ranking: Ranking, names: Sequence[str] | None = None
) -> str:
  """Says which queries cannot be scored, why, and what to change.

  Args:
    ranking: the result to explain.
    names: file name of each query for the examples; None shows row numbers.

  Returns:
    One or two sentences with up to three examples for each reason; empty if
    every query is valid.
  """
  sentences = []
  missing = np.flatnonzero(ranking.reason == Reason.NO_MATCH)
  if missing.size:
    sentences.append(
      f"{_how_many(missing.size, ranking)} no image of the person in the "
      f"gallery (e.g. {_examples(ranking, missing, names)}); check that query "
      "and gallery write the same person in the same way, or leave these "
      "queries out."
    )
  same = np.flatnonzero(ranking.reason == Reason.SAME_CAMERA)
  if same.size:
    cameras = np.unique(ranking.camid[same])
    if cameras.size == 1:
      which = f"share camera {cameras[0]} with their gallery matches"
      if same.size == 1:
        which = f"shares camera {cameras[0]} with its gallery matches"
    else:
      which = "have gallery matches only from their own camera"
    subject = _subject(same.size, ranking)
    sentences.append(
      f"{subject} {which} (e.g. {_examples(ranking, same, names)}); give each "
      "image its true camera or leave the camera empty if unknown, or pass "
      "--cross-camera=off to count matches from the same camera."
    )
  return " ".join(sentences)


def _subject(count: int, ranking: Ranking) -> str:
  total = ranking.reason.size
  if count == total:
    return "the only query" if total == 1 else f"all {total} queries"
  return f"{count} of {total} queries"


def _how_many(count: int, ranking: Ranking) -> str:
  verb = "has" if count == 1 else "have"
  return f"{_subject(count, ranking)} {verb}"


def _examples(
  ranking: Ranking, rows: np.ndarray, names: Sequence[str] | None
) -> str:
  shown = []
  for row in rows[:_EXAMPLES]:
    camera = int(ranking.camid[row])
    label = "unknown camera" if camera == UNKNOWN_CAMERA else f"camera {camera}"
    name = f"query {row}" if names is None else names[row]
    shown.append(f"{name}: person {ranking.pid[row]}, {label}")
  return "; ".join(shown)
