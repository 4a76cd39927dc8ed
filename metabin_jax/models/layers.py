"""Convolution and normalization layers that the backbones are built from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.ops import convolution, normalization

# PyTorch's default: uniform within 1 / sqrt(fan_in).
torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# ResNet's: normal with variance 2 / fan_out.
he_fan_out = nn.initializers.variance_scaling(
  2.0, "fan_out", "normal", in_axis=-2, out_axis=-1
)


class Conv(nn.Module):
  """Bias-free convolution with PyTorch's padding; computes in `dtype`."""

  features: int
  size: int = 1
  stride: int = 1
  depthwise: bool = False
  kernel_init: Any = torch_uniform
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, features]."""
    inputs = 1 if self.depthwise else x.shape[-1]
    shape = (self.size, self.size, inputs, self.features)
    kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
    apply = convolution.depthwise if self.depthwise else convolution.conv
    return apply(x.astype(self.dtype), kernel, stride=self.stride)


class BatchNorm(nn.Module):
  """Batch normalization, arm `bn`."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    scale, bias = _affine(self, "bn", x.shape[-1])
    running = _running(self, x.shape[-1])
    y, moved = normalization.batch_norm(
      x, scale, bias, _read(running), mode=mode
    )
    _write(self, running, moved, mode)
    return y


class InstanceNorm(nn.Module):
  """Instance normalization, arm `in`."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; every mode does the same."""
    normalization.check_mode(mode)
    return normalization.instance_norm(x, *_affine(self, "in", x.shape[-1]))


class BatchInstanceNorm(nn.Module):
  """MetaBIN's layer, arm `bin`: two affine maps, rho between them."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    channels = x.shape[-1]
    rho = _rho(self, channels)
    bn = _affine(self, "bn", channels)
    instance = _affine(self, "in", channels)
    running = _running(self, channels)
    y, moved = normalization.bin_apply(
      x, rho, *bn, *instance, _read(running), mode=mode
    )
    _write(self, running, moved, mode)
    return y


class SharedBatchInstanceNorm(nn.Module):
  """Nam and Kim's layer, arm `bin_shared`: one affine map for both branches."""

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    channels = x.shape[-1]
    rho = _rho(self, channels)
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    running = _running(self, channels)
    y, moved = normalization.bin_shared_apply(
      x, rho, scale, bias, _read(running), mode=mode
    )
    _write(self, running, moved, mode)
    return y


class HalfNorm(nn.Module):
  """Batch norm on one half of the channels, instance norm on the other.

  Arm `bin_half`; needs at least 2 channels.
  """

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    half = -(-x.shape[-1] // 2)
    bn = _affine(self, "bn", half)
    instance = _affine(self, "in", x.shape[-1] - half)
    running = _running(self, half)
    y, moved = normalization.bin_half_apply(
      x, *bn, *instance, _read(running), mode=mode
    )
    _write(self, running, moved, mode)
    return y


NORMS: dict[str, type[nn.Module]] = {
  "bn": BatchNorm,
  "in": InstanceNorm,
  "bin": BatchInstanceNorm,
  "bin_shared": SharedBatchInstanceNorm,
  "bin_half": HalfNorm,
}


def make_norm(norm: str, name: str) -> nn.Module:
  """Creates the normalization layer of an arm.

  Args:
    norm: a key of `NORMS`.
    name: name of the module.

  Returns:
    A module called as `layer(x, mode)`.

  Raises:
    ValueError: for an unknown arm.
  """
  if norm not in NORMS:
    raise ValueError(f"norm is {norm!r}, want one of {sorted(NORMS)}.")
  return NORMS[norm](name=name)


def _affine(
  module: nn.Module, branch: str, channels: int
) -> tuple[jax.Array, jax.Array]:
  """Scale and bias of one branch, named after it."""
  scale = module.param(f"{branch}_scale", nn.initializers.ones, (channels,))
  bias = module.param(f"{branch}_bias", nn.initializers.zeros, (channels,))
  return scale, bias


def _rho(module, channels):
  """The balancing parameters: all batch norm at the start, as published."""
  return module.variable(
    "balance", "rho", jnp.ones, (channels,), jnp.float32
  ).value


def _running(module, channels):
  """The two variables that hold the running statistics."""
  mean = module.variable(
    "batch_stats", "mean", jnp.zeros, (channels,), jnp.float32
  )
  var = module.variable(
    "batch_stats", "var", jnp.ones, (channels,), jnp.float32
  )
  return mean, var


def _read(running):
  return normalization.Moments(running[0].value, running[1].value)


def _write(module, running, moved, mode):
  """Keeps moved statistics; initialization must leave them as they are."""
  if mode == "update" and not module.is_initializing():
    running[0].value, running[1].value = moved
