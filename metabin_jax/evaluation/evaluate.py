"""Targets in, summaries out: one embedding pass, then ranking fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation import (
  exact_distances,
  query_expansion,
  ranking,
  rerank,
  summary,
)
from metabin_jax.evaluation.settings import Settings

_DEFAULTS = Settings()

# Persons and cameras of the queries, then of the gallery.
Labels = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class RankedFold(NamedTuple):
  """A fold, and what became of it.

  Attributes:
    fold: `query` and `gallery`, sequences of records.
    query: [Q, D] embeddings.
    gallery: [G, D] embeddings.
    ranking: the result of each query.
  """

  fold: Any
  query: np.ndarray
  gallery: np.ndarray
  ranking: ranking.Ranking


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
  return [
    summary.summarize(ranked.ranking, settings.ranks)
    for ranked in rank_folds(folds, embed_records, settings)
  ]


def rank_folds(
  folds: Sequence[Any],
  embed_records: Callable[[Sequence[Any]], np.ndarray],
  settings: Settings = _DEFAULTS,
) -> Iterator[RankedFold]:
  """Ranks folds, with one pass over all their images.

  Args:
    folds: as for `evaluate_target`.
    embed_records: records -> embeddings [N, D].
    settings: what to do with the embeddings.

  Yields:
    The folds, in their order.

  Raises:
    UserError: if an embedding is not finite, or a fold has too few images for
      re-ranking or query expansion.
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
  for fold in folds:
    query, gallery = (
      embeddings[[row[record.path] for record in part]]
      for part in (fold.query, fold.gallery)
    )
    ranked = rank(query, gallery, labels_of(fold), settings)
    yield RankedFold(fold, query, gallery, ranked)


def labels_of(fold: Any) -> Labels:
  """Persons and cameras of a fold's queries, then of its gallery."""
  q_pid, q_camid, g_pid, g_camid = (
    np.array([getattr(record, label) for record in part])
    for part in (fold.query, fold.gallery)
    for label in ("pid", "camid")
  )
  return q_pid, q_camid, g_pid, g_camid


def rank(
  query: np.ndarray,
  gallery: np.ndarray,
  labels: Labels,
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
  on_device = settings.place == "device" or (
    settings.place == "auto" and jax.default_backend() != "cpu"
  )
  if settings.rerank or not on_device:
    return ranking.rank_blocks(
      make_distances(query, gallery, settings),
      len(query),
      *labels,
      cross_camera=settings.cross_camera,
      ap=settings.ap,
      fprs=settings.fprs,
    )
  # Late: the host's way needs none of its programs.
  from metabin_jax.evaluation import device_ranking

  return device_ranking.rank_queries(
    _expand(query, gallery, settings),
    gallery,
    *labels,
    metric=settings.metric,
    cross_camera=settings.cross_camera,
    ap=settings.ap,
    fprs=settings.fprs,
  )


def make_distances(
  query: np.ndarray, gallery: np.ndarray, settings: Settings
) -> Callable[[int, int], np.ndarray]:
  """The distances that a ranking on the host goes by.

  Args:
    query: [Q, D] embeddings.
    gallery: [G, D] embeddings.
    settings: as for `rank`.

  Returns:
    `distances(start, stop)`: float64 [stop - start, G] of those queries.

  Raises:
    UserError: for too few images for re-ranking or query expansion.
    ValueError: for query expansion with another metric than cosine.
  """
  query = _expand(query, gallery, settings)
  if settings.rerank:
    return rerank.make_reranked_distances(
      query,
      gallery,
      settings.metric,
      k1=settings.rerank_k1,
      k2=settings.rerank_k2,
      original_share=settings.rerank_lambda,
    )
  return exact_distances.make_distances(query, gallery, settings.metric)


def _expand(
  query: np.ndarray, gallery: np.ndarray, settings: Settings
) -> np.ndarray:
  if not settings.query_expansion:
    return query
  if settings.metric != "cosine":
    # Expanded queries have length 1, the gallery has not.
    raise ValueError(
      f"query expansion needs metric 'cosine', not {settings.metric!r}."
    )
  return query_expansion.expand_queries(
    query, gallery, settings.query_expansion
  )
