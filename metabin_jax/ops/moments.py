"""Mean and variance of activations: of each image, of a batch, over devices.

Moments are taken in float32 at least, whatever the dtype of x, and follow
PyTorch: biased variance to normalize with, unbiased variance in the running
statistics.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metabin_jax.ops import centered, collectives
from metabin_jax.ops.centered import align

MOMENTUM = 0.1


class Moments(NamedTuple):
  """Mean and variance, both [C] (batch) or [..., 1, 1, C] (instance)."""

  mean: jax.Array
  var: jax.Array


def instance_moments(x: jax.Array) -> Moments:
  """Mean and biased variance of every image and channel.

  Args:
    x: [..., H, W, C] activations with any number of leading batch axes.

  Returns:
    Moments of shape [..., 1, 1, C], float32 or wider.

  Raises:
    ValueError: if `x` has no image axes.
  """
  if x.ndim < 3:
    raise ValueError(f"x has shape {x.shape}, want [..., H, W, C].")
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  mean = jnp.mean(x, axis=(-3, -2), keepdims=True)
  return Moments(mean, centered.variance(x, mean))


def batch_moments(instance: Moments, axis: str | None = None) -> Moments:
  """Moments over all images, from the moments of each.

  Images have equal size, so the mean is the mean of means and the variance is
  the mean of variances plus the variance of means: exact, and free. Over
  devices, each with as many images, the same holds once more.

  Args:
    instance: moments of shape [..., 1, 1, C].
    axis: name of a mapped axis over whose devices to go on; None stops at
      those of `instance`.

  Returns:
    Moments of shape [C].
  """
  axes = tuple(range(instance.mean.ndim - 1))
  moments = _over(instance, axes)
  if axis is None:
    return moments
  return _over(Moments(*jax.lax.all_gather(moments, axis)), (0,))


def update_running(
  running: Moments,
  batch: Moments,
  count: int,
  momentum: float = MOMENTUM,
) -> Moments:
  """Moves running statistics towards the batch's, as PyTorch does.

  Args:
    running: [C] statistics before the batch.
    batch: [C] mean and biased variance of the batch.
    count: number of values per channel behind `batch`; the running variance is
      unbiased, count / (count - 1) times the batch's.
    momentum: weight of the new batch (PyTorch's convention), in [0, 1].

  Returns:
    [C] statistics in the dtype of `running`.
  """
  unbiased = batch.var * (count / max(count - 1, 1))
  mean = (1 - momentum) * running.mean + momentum * batch.mean
  var = (1 - momentum) * running.var + momentum * unbiased
  return Moments(mean.astype(running.mean.dtype), var.astype(running.var.dtype))


def statistics(
  instance: Moments, running: Moments, mode: str
) -> tuple[Moments, Moments | None]:
  """Batch moments to normalize by, and those that move the running ones.

  The two differ only where a batch is split over devices and each normalizes
  by its own rows: running statistics follow the whole batch in any case, as
  they stand for the images to come.

  Args:
    instance: moments [..., 1, 1, C] of each image.
    running: [C] running statistics.
    mode: "update", "hold" or "eval".

  Returns:
    Moments [C], and in mode "update" constants [C] for `update_running`, else
    None.
  """
  if mode == "eval":
    return running, None
  batch = batch_moments(instance, collectives.moments_axis())
  if mode == "hold":
    return batch, None
  whole = batch
  if collectives.axis() != collectives.moments_axis():
    whole = batch_moments(instance, collectives.axis())
  return batch, Moments(*map(jax.lax.stop_gradient, whole))


def _over(moments, axes):
  mean = jnp.mean(moments.mean, axis=axes)
  between = jnp.mean(jnp.square(moments.mean - align(mean, moments.mean)), axes)
  return Moments(mean, jnp.mean(moments.var, axis=axes) + between)
