"""What a run does on its targets, kept for a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metabin_jax.data.records import DataSet
from metabin_jax.evaluation import summary
from metabin_jax.evaluation.evaluate import RankedFold
from metabin_jax.evaluation.summary import Summary
from metabin_jax.runtime import scoring

# The highest rate of ROC curves: at those of tables, small sets have no pair. A
# tenth of the impostor pairs is held in memory, 8 bytes each.
_TOP_RATE = 0.1


class Result(NamedTuple):
  """One target.

  Attributes:
    target: the data set.
    folds: ranked, in their order.
    summaries: one for each fold.
    whole: of all folds, see `summary.combine_folds`.
  """

  target: DataSet
  folds: list[RankedFold]
  summaries: list[Summary]
  whole: Summary


def evaluate_run(
  run: scoring.LoadedRun, config: Any, targets: Sequence[DataSet]
) -> list[Result]:
  """Ranks every target, as `metabin evaluate` does.

  Args:
    run: the run.
    config: its configuration, evaluation overridden where wanted.
    targets: checked data sets with folds.

  Returns:
    A result for each target; embeddings of all folds are in memory.

  Raises:
    UserError: if an image cannot be read or no query is valid.
  """
  asked = tuple(config.eval.fprs)
  extra = () if max(asked, default=0) >= _TOP_RATE else (_TOP_RATE,)
  config = scoring.override_eval(config, {"fprs": (*asked, *extra)})
  results = []
  for target in targets:
    folds = [*scoring.rank_target(config, run.network, run.variables, target)]
    summaries = [
      summary.summarize(fold.ranking, config.eval.ranks) for fold in folds
    ]
    for rate in extra:  # for the curve only
      for scores in summaries:
        del scores[f"{summary.TPR_PREFIX}{rate:g}"]
    whole = summary.combine_folds(summaries)
    results.append(Result(target, folds, summaries, whole))
  return results
