"""Batch, instance and batch-instance normalization as pure functions.

Every layer here gathers the moments of each image (mean, then centered square),
from which the batch's follow, and then applies one affine map per image and
channel. MetaBIN's layer

  y = rho (gB xB + bB) + (1 - rho) (gI xI + bI)

is, for image n and channel c, y = a[n, c] (x - mI[n, c]) + b[n, c]: mixing the
two normalizations costs [N, C] arithmetic and no extra pass over x. The map is
centered at the instance mean, so that float32 loses no digits when the mean is
large against the deviation.

Statistics modes:

* `update`: normalize by the batch, move the running statistics;
* `hold`: normalize by the batch, keep the running statistics (meta passes);
* `eval`: normalize by the running statistics, which are constants.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from metabin_jax.ops import centered, collectives
from metabin_jax.ops.centered import align
from metabin_jax.ops.moments import (
  MOMENTUM,
  Moments,
  instance_moments,
  statistics,
  update_running,
)

EPSILON = 1e-5
MODES = ("update", "hold", "eval")


def check_mode(mode: str) -> None:
  """Raises ValueError unless `mode` is one of `MODES`."""
  if mode not in MODES:
    raise ValueError(f"mode is {mode!r}, want one of {MODES}.")


def batch_norm(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  running: Moments,
  *,
  mode: str,
  epsilon: float = EPSILON,
  momentum: float = MOMENTUM,
) -> tuple[jax.Array, Moments]:
  """Batch normalization, y = scale (x - mean) / sqrt(var + epsilon) + bias.

  Args:
    x: [..., H, W, C] activations.
    scale: [C].
    bias: [C].
    running: [C] running statistics, used in `eval`, moved in `update`.
    mode: "update", "hold" or "eval".
    epsilon: added to the variance.
    momentum: weight of this batch in the running statistics.

  Returns:
    y, of the shape and dtype of x, and the running statistics afterwards.

  Raises:
    ValueError: for an unknown mode or parameters that are not [C].
  """
  _check(x, mode, scale=scale, bias=bias)
  batch, running = _batch_statistics(x, None, running, mode, momentum)
  gain = scale * jax.lax.rsqrt(batch.var + epsilon)
  return centered.affine(x, batch.mean, gain, bias), running


def instance_norm(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  *,
  epsilon: float = EPSILON,
) -> jax.Array:
  """Instance normalization: each image and channel by its own moments.

  Args:
    x: [..., H, W, C] activations.
    scale: [C].
    bias: [C].
    epsilon: added to the variance.

  Returns:
    y, of the shape and dtype of x. There are no running statistics: the same
    function serves training and evaluation.

  Raises:
    ValueError: if the parameters are not [C].
  """
  _check(x, "hold", scale=scale, bias=bias)
  instance = instance_moments(x)
  gain = align(scale, x) * jax.lax.rsqrt(instance.var + epsilon)
  return centered.affine(x, instance.mean, gain, bias)


def bin_apply(
  x: jax.Array,
  rho: jax.Array,
  bn_scale: jax.Array,
  bn_bias: jax.Array,
  in_scale: jax.Array,
  in_bias: jax.Array,
  running: Moments,
  *,
  mode: str,
  epsilon: float = EPSILON,
  momentum: float = MOMENTUM,
) -> tuple[jax.Array, Moments]:
  """MetaBIN's layer: rho BN(x) + (1 - rho) IN(x), each with its affine map.

  Args:
    x: [..., H, W, C] activations.
    rho: [C] balancing parameters in [0, 1], 1 = batch norm, 0 = instance norm;
      the caller keeps them in range.
    bn_scale: [C] scale of the batch norm.
    bn_bias: [C] bias of the batch norm.
    in_scale: [C] scale of the instance norm.
    in_bias: [C] bias of the instance norm.
    running: [C] running statistics of the batch norm.
    mode: "update", "hold" or "eval"; instance statistics are the image's own
      in all three.
    epsilon: added to both variances.
    momentum: weight of this batch in the running statistics.

  Returns:
    y, of the shape and dtype of x, and the running statistics afterwards.

  Raises:
    ValueError: for an unknown mode or parameters that are not [C].

  Source: MetaBIN (arXiv:2011.14670), Eq. 1; reference name `BIN_gate2`.
  Differs: the reference returns no instance term for maps of height 1 (and its
    backward pass then fails); here a constant map is normalized to zero.
  """
  _check(
    x,
    mode,
    rho=rho,
    bn_scale=bn_scale,
    bn_bias=bn_bias,
    in_scale=in_scale,
    in_bias=in_bias,
  )
  return _mix(
    x,
    rho * bn_scale,
    (1 - rho) * in_scale,
    rho * bn_bias + (1 - rho) * in_bias,
    running,
    mode,
    epsilon,
    momentum,
  )


def bin_shared_apply(
  x: jax.Array,
  rho: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  running: Moments,
  *,
  mode: str,
  epsilon: float = EPSILON,
  momentum: float = MOMENTUM,
) -> tuple[jax.Array, Moments]:
  """Batch-instance normalization with one affine map for both branches.

  y = scale (rho xB + (1 - rho) xI) + bias.

  Args:
    x: [..., H, W, C] activations.
    rho: [C] balancing parameters in [0, 1].
    scale: [C].
    bias: [C].
    running: [C] running statistics of the batch branch.
    mode: "update", "hold" or "eval".
    epsilon: added to both variances.
    momentum: weight of this batch in the running statistics.

  Returns:
    y, of the shape and dtype of x, and the running statistics afterwards.

  Raises:
    ValueError: for an unknown mode or parameters that are not [C].

  Source: Nam and Kim (NeurIPS 2018), Eq. 3; reference name `BIN_gate1`.
  """
  _check(x, mode, rho=rho, scale=scale, bias=bias)
  return _mix(
    x, rho * scale, (1 - rho) * scale, bias, running, mode, epsilon, momentum
  )


def bin_half_apply(
  x: jax.Array,
  bn_scale: jax.Array,
  bn_bias: jax.Array,
  in_scale: jax.Array,
  in_bias: jax.Array,
  running: Moments,
  *,
  mode: str,
  epsilon: float = EPSILON,
  momentum: float = MOMENTUM,
) -> tuple[jax.Array, Moments]:
  """Batch norm on the first ceil(C / 2) channels, instance norm on the rest.

  Args:
    x: [..., H, W, C] activations, C at least 2.
    bn_scale: [ceil(C / 2)].
    bn_bias: [ceil(C / 2)].
    in_scale: [floor(C / 2)].
    in_bias: [floor(C / 2)].
    running: [ceil(C / 2)] running statistics.
    mode: "update", "hold" or "eval".
    epsilon: added to the variances.
    momentum: weight of this batch in the running statistics.

  Returns:
    y, of the shape and dtype of x, and the running statistics afterwards.

  Raises:
    ValueError: if the two halves do not add up to C.

  Source: MetaBIN, Table 4 "BN+IN half"; reference name `BIN_half`.
  """
  half = bn_scale.shape[-1]
  if half + in_scale.shape[-1] != x.shape[-1] or half != -(-x.shape[-1] // 2):
    raise ValueError(
      f"x has {x.shape[-1]} channels but the halves have {half} (want the "
      f"larger half) and {in_scale.shape[-1]}."
    )
  top, running = batch_norm(
    x[..., :half],
    bn_scale,
    bn_bias,
    running,
    mode=mode,
    epsilon=epsilon,
    momentum=momentum,
  )
  rest = instance_norm(x[..., half:], in_scale, in_bias, epsilon=epsilon)
  return jnp.concatenate([top, rest], axis=-1), running


def _mix(x, batch_gain, instance_gain, bias, running, mode, epsilon, momentum):
  """y = batch_gain xB + instance_gain xI + bias, as one affine map."""
  instance = instance_moments(x)
  batch, running = _batch_statistics(x, instance, running, mode, momentum)
  batch_gain = batch_gain * jax.lax.rsqrt(batch.var + epsilon)
  instance_gain = align(instance_gain, x) * jax.lax.rsqrt(
    instance.var + epsilon
  )
  gain = align(batch_gain, x) + instance_gain
  # The instance branch is zero at the instance mean; the batch branch is not.
  offset = align(batch_gain, x) * (instance.mean - align(batch.mean, x))
  bias = align(bias, x) + offset
  return centered.affine(x, instance.mean, gain, bias), running


def _batch_statistics(x, instance, running, mode, momentum):
  """Statistics to normalize with, and the running ones afterwards."""
  if instance is None and mode != "eval":
    instance = instance_moments(x)
  batch, whole = statistics(instance, running, mode)
  if whole is not None:
    count = x.size // x.shape[-1] * collectives.num_devices()
    running = update_running(running, whole, count, momentum)
  return batch, running


def _check(x, mode, **parameters):
  check_mode(mode)
  for name, value in parameters.items():
    if value.shape != x.shape[-1:]:
      raise ValueError(
        f"{name} has shape {value.shape}, want {x.shape[-1:]}: one value per "
        f"channel of x {x.shape}."
      )
