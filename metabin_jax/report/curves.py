"""Curves of a report: CMC, ROC, and one loss over the iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metabin_jax.evaluation import summary
from metabin_jax.evaluation.ranking import Ranking
from metabin_jax.report import style

SIZE = (4.2, 3.1)
SMALL = (2.9, 1.9)
MAX_RANK = 20
# Of the curve of one fold among several.
_FAINT = 0.35

Rankings = Mapping[str, Sequence[Ranking]]  # target -> one for each fold


def draw_cmc(figure: Any, targets: Rankings) -> None:
  """A curve for each target, the mean over its folds, and faintly each fold."""
  axes = figure.subplots()
  ranks = np.arange(1, MAX_RANK + 1)
  for index, (name, folds) in enumerate(targets.items()):
    look = style.series(index)
    curves = [100 * summary.cmc(ranking, MAX_RANK) for ranking in folds]
    for curve in curves if len(curves) > 1 else ():
      axes.plot(ranks, curve, color=look["color"], alpha=_FAINT, linewidth=0.7)
    axes.plot(
      ranks, np.mean(curves, 0), **look, markevery=3, label=style.label(name)
    )
  axes.set_xlim(1, MAX_RANK)
  axes.set_xticks([1, 5, 10, 15, 20])
  axes.set_ylim(top=100.5)
  axes.set_xlabel("rank")
  axes.set_ylabel("queries with a match so far, %")
  axes.legend(loc="lower right")


def draw_roc(figure: Any, targets: Rankings) -> None:
  """A curve for each fold of each target, those of one in one colour."""
  axes = figure.subplots()
  for index, (name, folds) in enumerate(targets.items()):
    look = style.series(index)
    for fold, ranking in enumerate(folds):
      assert ranking.roc is not None
      # At rate 0 the logarithmic axis has no place.
      shown = ranking.roc.fpr > 0
      axes.plot(
        ranking.roc.fpr[shown],
        100 * ranking.roc.tpr[shown],
        color=look["color"],
        linestyle=look["linestyle"],
        alpha=1 if len(folds) == 1 else _FAINT,
        label=None if fold else style.label(name),
      )
  axes.set_xscale("log")
  axes.set_ylim(-1, 101)
  axes.set_xlabel("false positive rate")
  axes.set_ylabel("true positive rate, %")
  legend = axes.legend(loc="upper left")
  for handle in legend.legend_handles:
    handle.set_alpha(1)


def draw_loss(figure: Any, points: np.ndarray) -> None:
  """One loss: float [T, 2] iteration and value."""
  axes = figure.subplots()
  look = style.series(0) | {"marker": None if len(points) > 1 else "o"}
  axes.plot(*points.T, **look)
  axes.set_xlabel("iteration")
