"""What method "mar" knows of a site before its first iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax.data import images
from metabin_jax.data.batches import Unlabelled
from metabin_jax.data.pixel_cache import PixelCache
from metabin_jax.evaluation import extract
from metabin_jax.methods import mar
from metabin_jax.models import ReIDNetwork
from metabin_jax.ops import cross_view, mining, soft_multilabels

_ROWS = 64


def begin(
  config: Any,
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  unlabelled: Unlabelled,
  rules: mar.Rules,
  pixels: PixelCache | None = None,
) -> mar.Memory:
  """Looks at every image once, under running statistics, and starts from that.

  Args:
    config: resolved configuration.
    network: without a neck.
    variables: the weights to start from.
    unlabelled: the images.
    rules: of the method.
    pixels: resized images on disk; None reads the image files.

  Returns:
    A memory without multilabels, with threshold and centres.

  Raises:
    UserError: if an image cannot be read.

  Source: MAR's code, `init_losses`.
  Differs: there the images are augmented, and those that do not fill the last
    batch are left out.
  """
  logs = log_multilabels(
    config, network, variables, unlabelled.pool.paths, rules.scale, pixels
  )
  return mar.create_memory(
    len(logs),
    kth_agreement(np.exp(logs), rules.ratio),
    cross_view.initial_centers(
      jnp.asarray(logs), jnp.asarray(unlabelled.view), unlabelled.num_views
    ),
  )


def log_multilabels(
  config: Any,
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  paths: Sequence[str],
  scale: float,
  pixels: PixelCache | None = None,
) -> np.ndarray:
  """Log soft multilabels of images, without augmentation.

  Args:
    config: resolved configuration.
    network: without a neck.
    variables: its weights.
    paths: N images.
    scale: of the cosines.
    pixels: resized images on disk; None reads the image files.

  Returns:
    float32 [N, K].
  """
  height, width = config.data.height_px, config.data.width_px

  def load_one(path: str) -> np.ndarray:
    if pixels is not None:
      return pixels.load(path)
    return images.load_image(path, height, width)

  size = config.eval.batch_size
  embed = extract.make_embedder(network, variables, size)
  with ThreadPoolExecutor(config.data.workers or None) as pool:
    pooled = extract.embed_paths(
      embed, lambda some: np.stack(list(pool.map(load_one, some))), paths
    )
  classifier = jnp.asarray(variables["params"]["classifier"])
  return np.concatenate(
    [
      np.asarray(_log_multilabels(rows, classifier, scale))
      for rows in np.split(pooled, range(size, len(pooled), size))
    ]
  )


def kth_agreement(
  multilabels: np.ndarray, ratio: float, *, rows: int = _ROWS
) -> float:
  """The S-th largest agreement of all pairs, S = max(1, int(p N (N - 1) / 2)).

  Row block by row block; kept are the S largest so far, so the memory is that
  of N x `rows` and a few S numbers.

  Args:
    multilabels: [N, K], N at least 2.
    ratio: p.
    rows: of a block.

  Returns:
    The agreement, in the precision of `multilabels`.

  Source: MAR's code, `init_threshold`.
  Differs: where S is 0, the code takes the smallest agreement.
  """
  size = len(multilabels)
  count = max(1, mining.count_mined(size, ratio))
  on_device = jnp.asarray(multilabels)
  best = np.empty(0, multilabels.dtype)
  bound = -np.inf
  for start in range(0, size, rows):
    block = multilabels[start : start + rows]
    missing = rows - len(block)
    padded = np.pad(block, ((0, missing), (0, 0)))
    found = np.asarray(_agreement(padded, on_device))[: len(block)]
    later = (
      np.arange(size)[None, :] > np.arange(start, start + len(block))[:, None]
    )
    best = np.concatenate([best, found[later & (found > bound)]])
    if len(best) > 2 * count:
      best = np.partition(best, len(best) - count)[len(best) - count :]
      bound = best[0]
  return float(np.partition(best, len(best) - count)[len(best) - count])


_log_multilabels = jax.jit(mar.log_multilabels, static_argnums=2)
_agreement = jax.jit(soft_multilabels.pairwise_agreement)
