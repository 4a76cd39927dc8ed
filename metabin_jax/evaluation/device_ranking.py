"""The ranking of ranking.py on accelerators, in float32.

No row is sorted there: rank(match) = 1 + matches before it + #(images of other
persons at its distance or nearer), and these are counted next to the matrix
product of their block, so that little but counts leaves the device. Queries
are split over the devices, the gallery is on every one of them.

Differs from the exact host path: a distance, and every sum that it comes from,
is rounded to float32 (the device's highest precision, never bfloat16 or TF32).
A match and another person whose cosine distances are within about 1e-6 may
therefore swap, or tie where they did not, and copies of one image need not tie
to the bit. Euclidean distances come from |a|^2 + |b|^2 - 2ab; those near 0 are
off by up to about 1e-3 of the norm. Where float32 holds every product and sum
exactly, both paths agree exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from metabin_jax.evaluation import exact_distances, roc
from metabin_jax.evaluation.average_precision import INTERPOLATION_FREE
from metabin_jax.evaluation.matches import Matches, Reason
from metabin_jax.evaluation.scores import Ranking, Scores

_BLOCK_BYTES = 2**28
_GALLERY_MULTIPLE = 256
_NORM_EPSILON = 1e-12
_AXIS = "queries"


def rank_queries(
  query_emb: Any,
  gallery_emb: Any,
  q_pid: Any,
  q_camid: Any,
  g_pid: Any,
  g_camid: Any,
  *,
  metric: str = "cosine",
  cross_camera: bool = True,
  ap: str = INTERPOLATION_FREE,
  fprs: Sequence[float] = (),
  block: int | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> Ranking:
  """Ranks the gallery for every query; see `ranking.rank_queries`.

  Sizes are rounded up, so that folds of nearly the same size share one
  compiled program. Memory of a device: the embeddings, and a few blocks of
  distances.

  Args:
    query_emb: [Q, D] embeddings, of NumPy or JAX; they become float32.
    gallery_emb: [G, D] embeddings.
    q_pid: [Q] persons, integers or strings.
    q_camid: [Q] cameras, -1 where unknown.
    g_pid: [G] persons, of the same kind as `q_pid`.
    g_camid: [G] cameras, -1 where unknown.
    metric: "cosine" or "euclidean".
    cross_camera: as in `ranking.rank_queries`.
    ap: as in `ranking.rank_queries`.
    fprs: as in `ranking.rank_queries`. With them the block is sorted after
      all, and the impostor distances of each block that may matter, at most as
      many as the highest rate allows in all, travel to the host.
    block: queries per block and device; None chooses about 256 MiB of
      distances.
    devices: where to compute; None: all of this process. With one `block`,
      the result does not depend on how many there are.

  Returns:
    A `Ranking`, that of `ranking.rank_queries` up to the rounding of float32.

  Raises:
    UserError: if an embedding is not finite.
    ValueError: if shapes disagree or a metric, convention or rate is unknown.

  Source: as `ranking.rank_queries`. Differs: see the module's text;
    tests/evaluation/device_ranking_test.py.
  """
  query, gallery = jnp.asarray(query_emb), jnp.asarray(gallery_emb)
  exact_distances.check_request(query.shape, gallery.shape, metric)
  matches = Matches(
    len(query), q_pid, q_camid, g_pid, g_camid, cross_camera=cross_camera
  )
  scores = Scores(matches, ap=ap, fprs=fprs)
  mesh = Mesh(
    np.array(jax.local_devices() if devices is None else devices), _AXIS
  )
  gallery, query = (
    _prepare(part, side, metric, NamedSharding(mesh, PartitionSpec()))
    for part, side in ((gallery, "gallery"), (query, "query"))
  )
  valid = np.flatnonzero(matches.reason == Reason.VALID)
  if not valid.size:
    return scores.ranking()

  num_gallery = len(gallery)
  columns = _round_up(num_gallery, _GALLERY_MULTIPLE)
  gallery = jnp.pad(gallery, ((0, columns - num_gallery), (0, 0)))
  if block is None:
    block = max(1, _BLOCK_BYTES // (4 * columns))
    block = min(block, math.ceil(valid.size / mesh.size))
  rows = block * mesh.size
  num_impostor = num_gallery - matches.num_same
  count = _program(
    mesh, metric, _num_nearest(fprs, int(num_impostor[valid].sum()))
  )
  split = NamedSharding(mesh, PartitionSpec(_AXIS))
  width = _round_up_to_power(int(np.max(matches.num_same[valid])))
  for start in range(0, valid.size, rows):
    chosen = valid[start : start + rows]
    # A padded row repeats a query; what comes out of it is not looked at.
    padded = np.pad(chosen, (0, rows - chosen.size), mode="edge")
    same, kept = _tables(matches, padded, width, columns)
    nearer, genuine, nearest = map(
      np.asarray,
      count(
        *jax.device_put((query[padded], same, np.arange(rows)), split),
        gallery,
        chosen.size,
        num_gallery,
      ),
    )
    for row, index in enumerate(chosen):
      # More images are nearer to the farther match: the order is that of ranks.
      ranks = np.sort(nearer[row][kept[row]])
      scores.add(index, ranks + np.arange(1, ranks.size + 1))
    if fprs:
      share = nearest.reshape(mesh.size, -1)
      for device in range(mesh.size):
        part = slice(device * block, min((device + 1) * block, chosen.size))
        pairs = int(num_impostor[chosen[part]].sum())
        scores.add_pairs(genuine[part][kept[part]], share[device][:pairs])
  return scores.ranking()


def _prepare(
  part: jax.Array, side: str, metric: str, sharding: NamedSharding
) -> jax.Array:
  """Embeddings as float32 on every device, of length 1 for cosines."""
  rows = jax.device_put(part, sharding).astype(jnp.float32)
  norms = jnp.sqrt(jnp.sum(jnp.square(rows), axis=1))
  exact_distances.check_norms(np.asarray(norms), side)
  if metric == "euclidean":
    return rows
  return rows / jnp.maximum(norms, _NORM_EPSILON)[:, None]


def _tables(
  matches: Matches, queries: np.ndarray, width: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
  """The gallery images of each query's person, as tables of one width.

  Args:
    matches: of all queries.
    queries: int [B], numbers of valid queries.
    width: W, the most images of one person.
    columns: what stands where a person has fewer; no gallery row.

  Returns:
    int32 [B, W], rows of the gallery; bool [B, W], True for matches, False for
    junk and for what stands in.
  """
  same = np.full((queries.size, width), columns, np.int32)
  kept = np.zeros((queries.size, width), bool)
  for row, index in enumerate(queries):
    images = matches.of(index)
    same[row, : images.rows.size] = images.rows
    kept[row, : images.rows.size] = images.kept
  return same, kept


def _num_nearest(fprs: Sequence[float], num_impostor: int) -> int:
  """How many impostor distances of a block may decide on the rates."""
  if not fprs or not num_impostor:
    return 0
  return _round_up_to_power(roc.num_allowed(max(fprs), num_impostor) + 1)


@functools.cache
def _program(
  mesh: Mesh, metric: str, num_nearest: int
) -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
  """Compiles the work on a block; `num_nearest` is clipped to its size.

  Returns:
    A function of (query [B, D], same [B, W], row numbers [B], gallery [C, D],
    number of true rows, number of true columns) that gives: int32 [B, W],
    images of other persons at the distance of each match or nearer; float32
    [B, W], the distance of each match; float32 [devices x N], the nearest
    impostors of each device's share, sorted, infinity where there are fewer.
  """

  def count(query, same, numbers, gallery, num_rows, num_columns):
    dist = _distances(query, gallery, metric)
    genuine = jnp.take_along_axis(dist, same, axis=1, mode="clip")
    column = jnp.arange(gallery.shape[0])
    real = (numbers < num_rows)[:, None] & (column < num_columns)[None, :]
    row = jnp.arange(same.shape[0])[:, None]
    others = (
      jnp.where(real, dist, jnp.inf).at[row, same].set(jnp.inf, mode="drop")
    )
    # One match of every query at a time: all at once would be W blocks.
    nearer = jax.lax.map(
      lambda match: jnp.sum(others <= match[:, None], axis=1, dtype=jnp.int32),
      genuine.T,
    ).T
    nearest = others.ravel()[:0]
    if num_nearest:
      nearest = jnp.sort(others, axis=None)[:num_nearest]
    return nearer, genuine, nearest

  split, whole = PartitionSpec(_AXIS), PartitionSpec()
  return jax.jit(
    jax.shard_map(
      count,
      mesh=mesh,
      in_specs=(split, split, split, whole, whole, whole),
      out_specs=split,
    )
  )


def _distances(query: jax.Array, gallery: jax.Array, metric: str) -> jax.Array:
  product = jnp.matmul(query, gallery.T, precision=jax.lax.Precision.HIGHEST)
  if metric == "cosine":
    return 1.0 - product
  q_square = jnp.sum(jnp.square(query), axis=1)[:, None]
  g_square = jnp.sum(jnp.square(gallery), axis=1)[None, :]
  return jnp.sqrt(jnp.maximum(q_square + g_square - 2.0 * product, 0.0))


def _round_up(number: int, multiple: int) -> int:
  return -(-number // multiple) * multiple


def _round_up_to_power(number: int) -> int:
  return 1 << max(0, number - 1).bit_length()
