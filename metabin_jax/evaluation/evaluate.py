"""Targets in, summaries out: one embedding pass, then ranking fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation import ranking, summary


def evaluate_target(
  folds: Sequence[Any],
  embed_records: Callable[[Sequence[Any]], np.ndarray],
  *,
  ranks: Sequence[int] = (1, 5, 10),
  metric: str = "cosine",
  cross_camera: bool = True,
) -> dict[str, float]:
  """Evaluates one target data set.

  Args:
    folds: objects with `query` and `gallery`, sequences of records with `path`,
      `pid` and `camid`.
    embed_records: records -> embeddings [N, D].
    ranks: k of the rank-k entries.
    metric: "cosine" or "euclidean".
    cross_camera: remove gallery images of the query's person and camera.

  Returns:
    See `summary.combine_folds`; metrics in [0, 1].

  Raises:
    UserError: if a fold has no valid query, or an embedding is not finite.
  """
  records = {
    record.path: record
    for fold in folds
    for record in (*fold.query, *fold.gallery)
  }
  embeddings = embed_records(list(records.values()))
  if not np.isfinite(embeddings).all():
    bad = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
    raise UserError(
      f"the embedding of {list(records)[bad]} is not finite; the weights are "
      "unusable: go back to an earlier checkpoint."
    )
  row = {path: index for index, path in enumerate(records)}

  def arrays(part):
    index = [row[record.path] for record in part]
    pids = np.array([record.pid for record in part])
    camids = np.array([record.camid for record in part])
    return embeddings[index], pids, camids

  summaries = []
  for fold in folds:
    query, q_pid, q_camid = arrays(fold.query)
    gallery, g_pid, g_camid = arrays(fold.gallery)
    ranked = ranking.rank_queries(
      query,
      gallery,
      q_pid,
      q_camid,
      g_pid,
      g_camid,
      metric=metric,
      cross_camera=cross_camera,
    )
    summaries.append(summary.summarize(ranked, ranks))
  return summary.combine_folds(summaries)
