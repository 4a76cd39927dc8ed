"""Embeddings as points of a grid on which squared distances are exact.

The reasoning is that of exact_distances.py: coordinates are multiples of 2**-24
and no norm exceeds 1 by more than the rounding, so every product and partial
sum of a dot product is a float64 number, in whatever order it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation.exact_distances import check_request

_GRID = 2.0**24
_NORM_EPSILON = 1e-12
_CHUNK_BYTES = 2**24


class Points(NamedTuple):
  """Rounded embeddings; see `create_points`."""

  rows: np.ndarray  # float32 [N, D]
  squares: np.ndarray  # float64 [N], squared norms


def create_points(embeddings: np.ndarray, metric: str) -> Points:
  """Puts embeddings on the grid.

  Args:
    embeddings: [N, D], any real dtype.
    metric: "cosine": rows are scaled to norm 1, so that a squared distance is
      twice the cosine distance. "euclidean": all rows are divided by one power
      of two, at least the largest norm.

  Returns:
    The points; a row of zeros stays at the origin.

  Raises:
    UserError: if an embedding is not finite.
    ValueError: if the shape is another or the metric is unknown.
  """
  check_request(embeddings.shape, embeddings.shape, metric)
  norms = np.sqrt(_squares(embeddings))
  bad = ~np.isfinite(norms)
  if bad.any():
    raise UserError(
      f"embedding {int(np.argmax(bad))} is not finite; the weights or the "
      "images hold NaN or infinity: check the checkpoint, or use an earlier "
      "one."
    )
  if metric == "cosine":
    scales = np.maximum(norms, _NORM_EPSILON)
  else:
    largest = norms.max(initial=0.0) or 1.0
    # Dividing by a power of two rounds nothing.
    scales = np.full(len(norms), 2.0 ** np.ceil(np.log2(largest)))
  count, dimension = embeddings.shape
  rows = np.empty((count, dimension), np.float32)
  for low, high in chunks(count, dimension):
    part = embeddings[low:high].astype(np.float64)
    part /= scales[low:high, None]
    rows[low:high] = np.rint(part * _GRID) / _GRID
  return Points(rows, _squares(rows))


def squared_distances(
  points: Points, rows: slice | np.ndarray, columns: slice
) -> np.ndarray:
  """Exact squared distances of some points to others.

  Args:
    points: the points.
    rows: n of them, as a slice or as indices.
    columns: m of them; start and stop are given.

  Returns:
    float64 [n, m].
  """
  wide = points.rows[rows].astype(np.float64)
  targets = points.rows[columns]
  out = np.empty((len(wide), len(targets)))
  for low, high in chunks(len(targets), targets.shape[1]):
    # The float64 copy of the targets lives one chunk at a time.
    np.matmul(
      wide, targets[low:high].astype(np.float64).T, out=out[:, low:high]
    )
  out *= -2.0
  out += points.squares[rows, None]
  out += points.squares[columns]
  return out


def squared_distances_to(
  points: Points, row: int, others: np.ndarray
) -> np.ndarray:
  """Exact squared distances of one point to the `others` [m], float64 [m]."""
  wide = points.rows[others].astype(np.float64)
  dots = wide @ points.rows[row].astype(np.float64)
  return points.squares[row] + points.squares[others] - 2.0 * dots


def screening_error(dimension: int) -> float:
  """Bound on the error of |y|^2 - 2 x.y in float32, for points x and y.

  Args:
    dimension: D, numbers of an embedding.

  Returns:
    An absolute error that no order of summation exceeds.

  Source: |fl(x.y) - x.y| <= n u / (1 - n u) |x||y| with n = D, u = 2**-24
    (Higham, Accuracy and Stability of Numerical Algorithms, Sec. 3.1); the
    other roundings take the added 16.
  """
  return 2.02 * (dimension + 16) * 2.0**-24


def chunks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
  """Row ranges whose float64 copies stay near 16 MiB."""
  size = max(1, _CHUNK_BYTES // (8 * max(1, columns)))
  for low in range(0, rows, size):
    yield low, min(low + size, rows)


def _squares(rows: np.ndarray) -> np.ndarray:
  out = np.empty(len(rows))
  for low, high in chunks(len(rows), rows.shape[1]):
    part = rows[low:high].astype(np.float64)
    out[low:high] = np.einsum("ij,ij->i", part, part)
  return out
