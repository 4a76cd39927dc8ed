"""Targets in, summaries out: one embedding pass, then ranking fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation import query_expansion, ranking, rerank, summary
from metabin_jax.evaluation.settings import Settings

_DEFAULTS = Settings()


def evaluate_target(
  folds: Sequence[Any],
  embed_records: Callable[[Sequence[Any]], np.ndarray],
  settings: Settings = _DEFAULTS,
) -> summary.Summary:
  """Evaluates one target data set.

  Args:
    folds: objects with `query` and `gallery`, sequences of records with `path`,
      `pid` and `camid`.
    embed_records: records -> embeddings [N, D].
    settings: what to do with the embeddings.

  Returns:
    See `summary.combine_folds`; metrics in [0, 1].

  Raises:
    UserError: as `evaluate_folds` does.
  """
  return summary.combine_folds(evaluate_folds(folds, embed_records, settings))


def evaluate_folds(
  folds: Sequence[Any],
  embed_records: Callable[[Sequence[Any]], np.ndarray],
  settings: Settings = _DEFAULTS,
) -> list[summary.Summary]:
  """Evaluates folds, with one pass over all their images.

  Args:
    folds: as for `evaluate_target`.
    embed_records: records -> embeddings [N, D].
    settings: what to do with the embeddings.

  Returns:
    A summary for each fold, see `summary.summarize`.

  Raises:
    UserError: if a fold has no valid query, an embedding is not finite, or a
      fold has too few images for re-ranking or query expansion.
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
    labels = (q_pid, q_camid, g_pid, g_camid)
    ranked = rank(query, gallery, labels, settings)
    summaries.append(summary.summarize(ranked, settings.ranks))
  return summaries


def rank(
  query: np.ndarray,
  gallery: np.ndarray,
  labels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
  settings: Settings,
) -> ranking.Ranking:
  """Ranks one gallery as the settings say: expand, re-rank, rank.

  Args:
    query: [Q, D] embeddings.
    gallery: [G, D] embeddings.
    labels: persons and cameras of the queries, then of the gallery.
    settings: `place` "host" ranks with NumPy, exactly; "device" on all devices
      of JAX, where distances are rounded to float32; "auto" on the host if JAX
      has only a CPU. Query expansion and re-ranking are done on the host.

  Returns:
    The ranking.

  Raises:
    ValueError: for query expansion with another metric than cosine.
  """
  if settings.query_expansion:
    if settings.metric != "cosine":
      # Expanded queries have length 1, the gallery has not.
      raise ValueError(
        f"query expansion needs metric 'cosine', not {settings.metric!r}."
      )
    query = query_expansion.expand_queries(
      query, gallery, settings.query_expansion
    )
  if settings.rerank:
    distances = rerank.make_reranked_distances(
      query,
      gallery,
      settings.metric,
      k1=settings.rerank_k1,
      k2=settings.rerank_k2,
      original_share=settings.rerank_lambda,
    )
    return ranking.rank_blocks(
      distances,
      len(query),
      *labels,
      cross_camera=settings.cross_camera,
      ap=settings.ap,
      fprs=settings.fprs,
    )
  rank_queries = ranking.rank_queries
  if settings.place == "device" or (
    settings.place == "auto" and jax.default_backend() != "cpu"
  ):
    # Late: the host's way needs none of its programs.
    from metabin_jax.evaluation import device_ranking

    rank_queries = device_ranking.rank_queries
  return rank_queries(
    query,
    gallery,
    *labels,
    metric=settings.metric,
    cross_camera=settings.cross_camera,
    ap=settings.ap,
    fprs=settings.fprs,
  )
