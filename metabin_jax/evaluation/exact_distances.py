"""Distances between embeddings that do not depend on how they are computed.

A matrix product in floating point adds in an order that hangs on the shape of
the blocks and on the machine, so that the same pair of images can get two
distances, and copies of one image can rank apart. Here embeddings are rounded
once to 24 fractional bits (6e-8, no coarser than float32 itself near 1), after
which every product and every partial sum is an exact float64 number: the same
pair has the same distance, bit for bit, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from metabin_jax.errors import UserError

METRICS = ("cosine", "euclidean")

_FRACTION_BITS = 24
_NORM_EPSILON = 1e-12
_CHUNK_BYTES = 2**24


def make_distances(
  query: np.ndarray, gallery: np.ndarray, metric: str = "cosine"
) -> Callable[[int, int], np.ndarray]:
  """Returns `distances(start, stop) -> [stop - start, G]` for those queries.

  Args:
    query: [Q, D] embeddings, any real dtype, finite.
    gallery: [G, D] embeddings.
    metric: "cosine": 1 - cosine of the angle, in [0, 2]; an embedding of
      zeros is at distance 1 from all. "euclidean": resolved to 2**-24 of the
      largest norm among all embeddings.

  Returns:
    A function that makes float64 distances for a range of queries.

  Raises:
    UserError: if an embedding is not finite.
    ValueError: if shapes disagree or the metric is unknown.

  Source: reference fastreid/evaluation/reid_evaluation.py, 1 - cosine of
    embeddings normalised with epsilon 1e-12.
  """
  query, gallery = np.asarray(query), np.asarray(gallery)
  check_request(query.shape, gallery.shape, metric)
  query, gallery, scale = _round_embeddings(query, gallery, metric)
  q_square = _squares(query)
  g_square = _squares(gallery)

  def distances(start: int, stop: int) -> np.ndarray:
    rows = query[start:stop].astype(np.float64)
    out = np.empty((stop - start, len(gallery)))
    for low, high in _chunks(*gallery.shape):
      # The float64 copy of the gallery lives one chunk at a time.
      columns = gallery[low:high].astype(np.float64)
      np.matmul(rows, columns.T, out=out[:, low:high])
    if metric == "cosine":
      return np.subtract(1.0, out, out=out)
    out *= -2.0
    out += q_square[start:stop, None]
    out += g_square
    np.sqrt(out, out=out)
    out *= scale
    return out

  return distances


def check_request(
  query: tuple[int, ...], gallery: tuple[int, ...], metric: str
) -> None:
  """Raises ValueError if shapes of embeddings disagree or the metric is new."""
  if len(query) != 2 or len(gallery) != 2:
    raise ValueError(
      f"embeddings have shapes {query} and {gallery}, want [Q, D] and [G, D]."
    )
  if query[1] != gallery[1]:
    raise ValueError(
      f"query embeddings have {query[1]} numbers and gallery embeddings "
      f"{gallery[1]}; both must come from one model."
    )
  if metric not in METRICS:
    raise ValueError(
      f"metric is {metric!r}, which is not known; use 'cosine' or 'euclidean'."
    )


def check_norms(norms: np.ndarray, side: str) -> None:
  """Refuses embeddings that are not finite.

  Args:
    norms: [N], L2 norm of each embedding.
    side: "query" or "gallery", for the message.

  Raises:
    UserError: if a norm is not finite; it says which image's.
  """
  bad = ~np.isfinite(norms)
  if bad.any():
    raise UserError(
      f"embedding of {side} image {int(np.argmax(bad))} is not finite "
      f"({int(bad.sum())} of {len(norms)} are not); the weights or the images "
      "hold NaN or infinity: check the checkpoint, or use an earlier one."
    )


def _round_embeddings(
  query: np.ndarray, gallery: np.ndarray, metric: str
) -> tuple[np.ndarray, np.ndarray, float]:
  """Scales rows to norm <= 1 and rounds them to multiples of 2**-24.

  Such numbers fit float32 exactly. Their products are multiples of 2**-48, and
  by Cauchy-Schwarz no partial sum of a dot product exceeds 1 by more than the
  rounding: float64 (53 bits) holds every one of them without error, whatever
  the order of summation.
  """
  scale = 1.0
  norms = [_norms(query, "query"), _norms(gallery, "gallery")]
  if metric == "cosine":
    scales = [np.maximum(norm, _NORM_EPSILON) for norm in norms]
  else:
    largest = max((norm.max() for norm in norms if norm.size), default=0.0)
    # A power of two, so that the division itself rounds nothing.
    scale = float(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else 1.0
    scales = [np.full(len(norm), scale) for norm in norms]
  unit = 2.0**_FRACTION_BITS
  rounded = []
  for rows, divisors in zip((query, gallery), scales, strict=True):
    out = np.empty(rows.shape, np.float32)
    for low, high in _chunks(*rows.shape):
      part = rows[low:high].astype(np.float64) / divisors[low:high, None]
      out[low:high] = np.rint(part * unit) / unit
    rounded.append(out)
  return rounded[0], rounded[1], scale


def _norms(rows: np.ndarray, side: str) -> np.ndarray:
  """L2 norm of each row; refuses rows that are not finite."""
  norms = np.sqrt(_squares(rows))
  check_norms(norms, side)
  return norms


def _squares(rows: np.ndarray) -> np.ndarray:
  """Float64 [N], squared norm of each row; exact for rounded embeddings."""
  out = np.empty(len(rows))
  for low, high in _chunks(*rows.shape):
    part = rows[low:high].astype(np.float64)
    out[low:high] = (part * part).sum(axis=1)
  return out


def _chunks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
  """Row ranges whose float64 copies stay near 16 MiB."""
  size = max(1, _CHUNK_BYTES // (8 * max(1, columns)))
  for low in range(0, rows, size):
    yield low, min(low + size, rows)
