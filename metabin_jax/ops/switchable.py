"""Switchable normalization: moments of several kinds, mixed by learned weights.

Batch-instance normalization mixes two outputs, channel by channel; this layer
mixes the moments themselves, with one weight a kind for all channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from metabin_jax.ops import centered, moments, normalization
from metabin_jax.ops.centered import align
from metabin_jax.ops.moments import Moments

KINDS = ("in", "ln", "bn")


def switchable_norm(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  mean_weights: jax.Array,
  var_weights: jax.Array,
  running: Moments,
  *,
  kinds: Sequence[str],
  mode: str,
  epsilon: float = normalization.EPSILON,
  momentum: float = moments.MOMENTUM,
) -> tuple[jax.Array, Moments]:
  """Normalizes by mixed moments, y = scale (x - m) / sqrt(v + epsilon) + bias.

  m = sum_k softmax(mean_weights)_k m_k and v = sum_k softmax(var_weights)_k v_k
  over the kinds: "in", the moments of an image and channel; "ln", those of an
  image over its channels; "bn", those of a channel over the batch.

  Args:
    x: [..., H, W, C] activations.
    scale: [C].
    bias: [C].
    mean_weights: [K] logits, one for each kind.
    var_weights: [K] logits.
    running: [C] running moments of the kind "bn".
    kinds: K different names of `KINDS`, in the order of the weights.
    mode: "update", "hold" or "eval", of the kind "bn".
    epsilon: added to the variance.
    momentum: weight of this batch in the running moments.

  Returns:
    y, of the shape and dtype of x, and the running moments afterwards.

  Raises:
    ValueError: for an unknown mode or kind, or arrays of another shape.

  Source: Luo et al. (arXiv:1806.10779), Eqs. 3 to 5. As in the published code
    the variance of an image is the unbiased one, those of the other kinds
    follow from it, and the running variance is not corrected again. The code
    takes them as E[v + m^2] - E[m]^2, here they are centered: the same numbers,
    without its cancellation.
  """
  _check(x, mode, kinds, scale, bias, mean_weights, var_weights)
  instance = moments.instance_moments(x)
  pixels = x.shape[-3] * x.shape[-2]
  instance = Moments(instance.mean, instance.var * pixels / max(pixels - 1, 1))
  batch, whole = moments.statistics(instance, running, mode)
  if whole is not None:
    running = _move(running, whole, momentum)
  by_kind = {
    "in": instance,
    "ln": _over_channels(instance),
    "bn": Moments(*(align(v, x) for v in batch)),
  }
  chosen = [by_kind[kind] for kind in kinds]
  mean = _mix(mean_weights, [m.mean for m in chosen])
  var = _mix(var_weights, [m.var for m in chosen])
  gain = align(scale, x) * jax.lax.rsqrt(var + epsilon)
  return centered.affine(x, mean, gain, bias), running


def _over_channels(instance):
  """Moments of each image over all its channels, [..., 1, 1, 1]."""
  mean = jnp.mean(instance.mean, axis=-1, keepdims=True)
  between = jnp.square(instance.mean - mean)
  return Moments(mean, jnp.mean(instance.var + between, axis=-1, keepdims=True))


def _mix(weights, values):
  shares = jax.nn.softmax(weights)
  return sum(shares[k] * value for k, value in enumerate(values))


def _move(running, batch, momentum):
  moved = (
    (1 - momentum) * old + momentum * new
    for old, new in zip(running, batch, strict=True)
  )
  return Moments(
    *(new.astype(old.dtype) for new, old in zip(moved, running, strict=True))
  )


def _check(x, mode, kinds, scale, bias, mean_weights, var_weights):
  normalization.check_mode(mode)
  if not kinds or len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
    raise ValueError(f"kinds are {tuple(kinds)}, want some of {KINDS}.")
  for name, value, want in (
    ("scale", scale, x.shape[-1:]),
    ("bias", bias, x.shape[-1:]),
    ("mean_weights", mean_weights, (len(kinds),)),
    ("var_weights", var_weights, (len(kinds),)),
  ):
    if value.shape != want:
      raise ValueError(f"{name} has shape {value.shape}, want {want}.")
