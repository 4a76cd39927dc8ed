"""The k most similar rows of a gallery that is read block by block.

Exact: every row is compared with every query. Where two rows are equally
similar, the earlier one comes first, whatever the blocks; FAISS, which may
multiply in our place, chooses freely among the last of equals.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax.errors import UserError

PLACES = ("auto", "host", "device", "faiss")
# Similarities in memory at a time: 2**25 float32 are 128 MiB.
_MOST = 2**25


class Block(NamedTuple):
  """Consecutive rows of a gallery.

  Attributes:
    start: number of the first.
    rows: [n, D], float16 or float32.
    valid: bool [n]; False for rows that do not count. None: all count.
  """

  start: int
  rows: np.ndarray
  valid: np.ndarray | None = None


class Best(NamedTuple):
  """The most similar rows of each query, best first.

  Attributes:
    scores: float32 [Q, k] inner products; -inf where the gallery has no more.
    rows: int64 [Q, k] numbers of rows; -1 where it has no more.
  """

  scores: np.ndarray
  rows: np.ndarray


def find(
  queries: np.ndarray, blocks: Iterable[Block], k: int, *, place: str = "host"
) -> Best:
  """Finds the rows of largest inner product with each query.

  Args:
    queries: [Q, D]; of length 1, as the gallery's rows, for cosines.
    blocks: the gallery; read once.
    k: how many, at least 1.
    place: "host" multiplies with NumPy; "device" with JAX, where all blocks
      but the last should have one length; "auto" on the host if JAX has only a
      CPU; "faiss" by FAISS, if it is installed. Products are those of float32
      in each.

  Returns:
    The best k; fewer than k rows leave -inf and -1 at the end.

  Raises:
    ValueError: if k is below 1, or `place` is unknown.
    UserError: if `place` is "faiss" and it is not installed.
  """
  if k < 1:
    raise ValueError(f"k is {k}, want at least 1.")
  if place not in PLACES:
    raise ValueError(f"place is {place!r}, want one of {PLACES}.")
  if place == "faiss":
    check_faiss()
  if place == "auto":
    place = "host" if jax.default_backend() == "cpu" else "device"
  queries = np.ascontiguousarray(queries, np.float32)
  best = Best(
    np.full((len(queries), k), -np.inf, np.float32),
    np.full((len(queries), k), -1, np.int64),
  )
  width = 0
  for block in blocks:
    width = max(width, len(block.rows))
    step = max(1, _MOST // max(1, len(block.rows)))
    for first in range(0, len(queries), step):
      part = slice(first, first + step)
      if place == "host":
        found = _on_host(queries[part], block, best.scores[part, -1], k)
      elif place == "faiss":
        found = _by_faiss(queries[part], block, k)
      else:
        found = _on_device(queries[part], block, k, width)
      _merge(best, part, found)
  return best


def check_faiss() -> None:
  """Refuses to go on without FAISS.

  Raises:
    UserError: says how to install it.
  """
  try:
    import faiss  # noqa: F401
  except ImportError as error:
    raise UserError(
      "FAISS is not installed; run `pip install -e '.[faiss]'` in the "
      "repository's folder, or search without it, which finds the same."
    ) from error


class _Candidates(NamedTuple):
  """Flat: query (from 0 within the part), score and row of each."""

  query: np.ndarray
  score: np.ndarray
  row: np.ndarray


def _on_host(queries, block, worst, k) -> _Candidates:
  rows = np.ascontiguousarray(block.rows, np.float32)
  scores = queries @ rows.T
  if block.valid is not None:
    scores[:, ~block.valid] = -np.inf
  # Of this block no more than its own best k can count. Rows found before win
  # ties, so a candidate must be better than the worst of them.
  k = min(k, len(rows))
  limit = np.partition(scores, len(rows) - k, axis=1)[:, len(rows) - k]
  keep = (scores >= limit[:, None]) & (scores > worst[:, None])
  query, column = np.nonzero(keep)
  return _Candidates(query, scores[query, column], block.start + column)


def _by_faiss(queries, block, k) -> _Candidates:
  import faiss

  rows, numbers = np.asarray(block.rows), np.arange(len(block.rows))
  if block.valid is not None:
    rows, numbers = rows[block.valid], numbers[block.valid]
  k = min(k, len(rows))
  if not k or not len(queries):
    nothing = np.zeros(0, np.int64)
    return _Candidates(nothing, np.zeros(0, np.float32), nothing)
  scores, columns = faiss.knn(
    queries,
    np.ascontiguousarray(rows, np.float32),
    k,
    metric=faiss.METRIC_INNER_PRODUCT,
  )
  query = np.repeat(np.arange(len(queries)), k)
  row = block.start + numbers[columns.ravel()]
  return _Candidates(query, scores.ravel(), row)


def _on_device(queries, block, k, width) -> _Candidates:
  rows, count = np.asarray(block.rows), len(block.rows)
  valid = np.ones(count, bool) if block.valid is None else block.valid
  if count < width:  # one shape, one program
    rows = np.concatenate(
      [rows, np.zeros((width - count, rows.shape[1]), rows.dtype)]
    )
    valid = np.concatenate([valid, np.zeros(width - count, bool)])
  scores, columns = _multiply(queries, rows, valid, min(k, width))
  scores, columns = np.asarray(scores), np.asarray(columns)
  query = np.repeat(np.arange(len(queries)), scores.shape[1])
  score, row = scores.ravel(), block.start + columns.ravel().astype(np.int64)
  keep = np.isfinite(score)
  return _Candidates(query[keep], score[keep], row[keep])


@functools.partial(jax.jit, static_argnums=3)
def _multiply(queries, rows, valid, k):
  scores = jnp.matmul(
    queries, rows.astype(jnp.float32).T, precision=jax.lax.Precision.HIGHEST
  )
  # lax.top_k puts the earlier of equals first.
  return jax.lax.top_k(jnp.where(valid[None], scores, -jnp.inf), k)


def _merge(best: Best, part: slice, found: _Candidates) -> None:
  """Puts candidates among the best of their queries, in place."""
  touched = np.unique(found.query)
  if not len(touched):
    return
  scores, rows = best.scores[part], best.rows[part]
  k = scores.shape[1]
  query = np.concatenate([np.repeat(touched, k), found.query])
  score = np.concatenate([scores[touched].ravel(), found.score])
  row = np.concatenate([rows[touched].ravel(), found.row])
  order = np.lexsort((row, -score, query))
  query, score, row = query[order], score[order], row[order]
  # Each query has at least the k it had.
  start = np.searchsorted(query, touched)
  chosen = start[:, None] + np.arange(k)
  scores[touched], rows[touched] = score[chosen], row[chosen]
