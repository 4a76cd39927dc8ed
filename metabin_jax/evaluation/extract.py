"""Embeddings of images, in batches of one fixed shape."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from metabin_jax.models import ReIDNetwork

# (images uint8 [B, H, W, 3]) -> embeddings float32 [B, D]
Embedder = Callable[[np.ndarray], np.ndarray]

_NORM_EPSILON = 1e-12


def make_embedder(
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  batch_size: int,
  *,
  flip: bool = False,
  devices: Sequence[jax.Device] | None = None,
) -> Embedder:
  """Binds a network and its weights.

  Args:
    network: from `models.create`.
    variables: {"params", "balance", "batch_stats"}.
    batch_size: images of one call of the compiled function.
    flip: add the embedding of the left-right mirrored image and scale the sum
      to norm 1 (a sum of zero stays zero). The program then sees twice as many
      images in a call.
    devices: that share each batch, whose size is rounded up to a multiple of
      their number; None takes the first.

  Returns:
    embed(images): uint8 [N, H, W, 3] RGB, any N, to float32 [N, D], the
    BNNeck's output under running statistics, not yet normalized without
    `flip`. The last batch is padded, so the function compiles once per image
    size; no image's embedding depends on the others, not by a bit. Another
    `batch_size` rounds differently.

  Source: `flip`: evaluation of DualNorm (arXiv:1905.03422), features of image
    and mirrored image summed, then L2-normalized.
  """

  if devices is None:
    devices = jax.local_devices()[:1]
  mesh = Mesh(np.array(devices), ("images",))
  whole, split = (
    NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("images",))
  )
  batch_size = -(-batch_size // len(devices)) * len(devices)
  on_device = jax.device_put(dict(variables), whole)

  def embed(images: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(images), batch_size):
      batch = images[start : start + batch_size]
      padding = batch_size - len(batch)
      if padding:
        batch = np.concatenate([batch, np.repeat(batch[:1], padding, axis=0)])
      placed = jax.device_put(batch, split)
      rows = np.asarray(_apply(network, flip, on_device, placed), np.float32)
      parts.append(rows[: batch_size - padding])
    return np.concatenate(parts)

  return embed


def embed_pixels(
  network: ReIDNetwork,
  flip: bool,
  variables: Mapping[str, Any],
  images: jax.Array,
) -> jax.Array:
  """What `make_embedder` computes for a batch, as a pure function.

  Args:
    network: as there, and so the other two.
    flip: whether mirrored images are added.
    variables: weights.
    images: uint8 [N, H, W, 3].

  Returns:
    float32 [N, D].
  """
  if flip:
    images = jnp.concatenate([images, jnp.flip(images, 2)])
  outputs: Any = network.apply(variables, images, mode="eval")
  if not flip:
    return outputs.embedding
  # A reshape and no split: exporters know the former for N that is a symbol.
  both = outputs.embedding.reshape(2, -1, outputs.embedding.shape[1])
  total = both[0] + both[1]
  norm = jnp.linalg.norm(total, axis=1, keepdims=True)
  return total / jnp.maximum(norm, _NORM_EPSILON)


# Compiled once for equal networks, so other weights cost no compilation.
_apply = functools.partial(jax.jit, static_argnums=(0, 1))(embed_pixels)


def embed_paths(
  embed: Embedder,
  load: Callable[[Sequence[str]], np.ndarray],
  paths: Sequence[str],
  *,
  chunk: int = 1024,
) -> np.ndarray:
  """Embeds image files, each once, a chunk at a time.

  Args:
    embed: from `make_embedder`.
    load: paths -> uint8 [N, H, W, 3].
    paths: image files; repeated ones are read and embedded once.
    chunk: images in memory at a time.

  Returns:
    float32 [len(paths), D], in the order of `paths`.
  """
  unique = list(dict.fromkeys(paths))
  rows = [
    embed(load(unique[start : start + chunk]))
    for start in range(0, len(unique), chunk)
  ]
  embeddings = np.concatenate(rows)
  place = {path: row for row, path in enumerate(unique)}
  return embeddings[[place[path] for path in paths]]
