"""Batch norm statistics of a target in place of the sources' (AdaBN).

No label is used and no parameter moves: each batch norm, the neck's included,
gets the mean and variance that its inputs have on images of the target.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from metabin_jax.models import ReIDNetwork
from metabin_jax.ops.moments import MOMENTUM

PyTree = Any
Layer = tuple[str, ...]
# Whose statistics: the sources', the gallery's, or queries' and gallery's.
IMAGES = ("none", "gallery", "all")


def choose_paths(fold: Any, images: str) -> list[str]:
  """The images of a fold whose statistics are taken, in a fixed mixed order.

  Args:
    fold: `query` and `gallery`, sequences of records with `path`.
    images: "gallery" or "all".

  Returns:
    Each path once. Sorted paths put the images of a person side by side, which
    makes for batches of few persons; so they are shuffled, always alike.

  Raises:
    ValueError: for another value of `images`.
  """
  if images not in IMAGES[1:]:
    raise ValueError(f"images is {images!r}, want one of {IMAGES[1:]}.")
  records = [*fold.gallery, *(fold.query if images == "all" else ())]
  paths = sorted({record.path for record in records})
  order = np.random.Generator(np.random.Philox(key=0)).permutation(len(paths))
  return [paths[index] for index in order]


def adapt(
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  load: Callable[[Sequence[str]], np.ndarray],
  paths: Sequence[str],
  batch_size: int,
) -> dict[str, Any]:
  """Takes the statistics of all batch norms anew.

  Each batch passes through the network in mode "update": every layer
  normalizes by the moments of this batch, which is what the layers after it
  see. All batches have one size, so the moments of the whole are

    mean = mean of means, variance = mean of variances + variance of means,

  with the biased variance. They are exact over all images for the inputs that
  a layer had. Images that do not fill the last batch are left out, unless
  there is no full batch; then all images are one batch.

  Args:
    network: from `models.create`. Layers with running statistics move them
      with `ops.moments.MOMENTUM` and store the unbiased variance, as
      `ops.moments.update_running` does; a layer that stores the variance as
      it is has a class attribute `stores_unbiased_variance = False`.
    variables: {"params", "balance", "batch_stats"}.
    load: paths -> uint8 [N, H, W, 3].
    paths: images of the target, at least one.
    batch_size: images of a batch.

  Returns:
    The variables with other `batch_stats`.

  Raises:
    ValueError: if there is no image.

  Source: Li et al., "Revisiting batch normalization for practical domain
    adaptation" (arXiv:1603.04779).
  """
  if not paths:
    raise ValueError("there is no image to take statistics of.")
  size = min(batch_size, len(paths))
  on_device = jax.device_put(dict(variables))
  pools: dict[Layer, _Pool] = collections.defaultdict(_Pool)
  for start in range(0, len(paths) - size + 1, size):
    images = load(paths[start : start + size])
    moments = _batch_moments(network, on_device, images)
    for layer, (mean, var) in _by_layer(jax.device_get(moments)).items():
      pools[layer].add(mean, var)
  stats = {
    (*layer, name): value.astype(before[name == "var"].dtype)
    for layer, before in _by_layer(variables["batch_stats"]).items()
    for name, value in zip(("mean", "var"), pools[layer].moments, strict=True)
  }
  return {**variables, "batch_stats": traverse_util.unflatten_dict(stats)}


class _Pool:
  """Moments of equally large batches as those of one, in float64."""

  def __init__(self) -> None:
    self._count = 0
    # Mean of means; sums of variances and of squared distances of the means.
    self._mean = self._within = self._between = np.zeros((), np.float64)

  def add(self, mean: np.ndarray, var: np.ndarray) -> None:
    """Takes the moments [C] of a batch."""
    self._count += 1
    away = mean.astype(np.float64) - self._mean
    self._mean = self._mean + away / self._count
    self._between = self._between + away * (mean - self._mean)
    self._within = self._within + var

  @property
  def moments(self) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance [C]."""
    var = (self._within + self._between) / self._count
    return np.asarray(self._mean), np.asarray(var)


def _by_layer(stats: Mapping[str, Any]) -> dict[Layer, tuple[Any, Any]]:
  """Mean and variance of each layer of a tree of running statistics."""
  flat = traverse_util.flatten_dict(stats)
  return {
    path[:-1]: (flat[*path[:-1], "mean"], flat[*path[:-1], "var"])
    for path in flat
    if path[-1] == "mean"
  }


@functools.partial(jax.jit, static_argnums=0)
def _batch_moments(network, variables, images) -> PyTree:
  """Mean and biased variance of every batch norm's input, as `batch_stats`."""
  biased: dict[Layer, float] = {}  # biased over stored variance

  def watch(call, args, kwargs, context):
    layer = context.module
    if context.method_name == "__call__" and args:
      count = args[0].size // args[0].shape[-1]
      unbiased = getattr(layer, "stores_unbiased_variance", True)
      biased[layer.path] = max(count - 1, 1) / count if unbiased else 1.0
    return call(*args, **kwargs)

  zeros = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
  with nn.intercept_methods(watch):
    _, moved = network.apply(
      {**variables, "batch_stats": zeros},
      images,
      mode="update",
      mutable=["batch_stats"],
    )

  def moment(path, value):
    """Undoes `update_running` from zero: its momentum and unbiased variance."""
    *layer, name = (entry.key for entry in path)
    value = value / MOMENTUM
    return value * biased[tuple(layer)] if name == "var" else value

  return jax.tree_util.tree_map_with_path(moment, moved.get("batch_stats", {}))
