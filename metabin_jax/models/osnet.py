"""OSNet: every block looks at four scales and gates them by one small network.

Its arms OSNet-IBN and OSNet-AIN are in norms/osnet_arms.py; any other arm goes
with it too, "bin" gives MetaBIN on OSNet.

Sites (family "osnet"), in the order of the forward pass:

* stage 0: the stem;
* stages 1 to 3: two blocks each. Position 1 is the 1x1 convolution into the
  block, 2 to 11 the light convolutions, stream by stream, 12 the 1x1
  convolution out of it, 0 the shortcut;
* the 1x1 convolution after stages 1 and 2: a norm of its own, block 2 of the
  stage before it. `last_block` speaks of the blocks with a sum: it is true of
  block 1 and not of this convolution;
* stage 4: the 1x1 convolution after the last stage.

"stage" sites lie behind block 1, so before that convolution.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import layers, registry
from metabin_jax.models.norms.batch import BatchNorm

# Channels at width 1: of the stem, then of the stages.
CHANNELS = (64, 256, 384, 512)
BLOCKS = 2  # of every stage
STREAMS = 4  # of a block; stream t has t light convolutions
BOTTLENECK = 4  # a stage's channels over those inside its blocks
GATE_REDUCTION = 16  # channels inside a block over those inside its gate
FEATURES = 512  # at every width
LAST_POSITION = 2 + STREAMS * (STREAMS + 1) // 2
# From here on the last map has a pixel.
SMALLEST_SIDE = 13


class ConvNorm(nn.Module):
  """Convolution, normalization and, unless it is linear, ReLU."""

  features: int
  norm: str
  site: registry.Site
  size: int = 1
  stride: int = 1
  linear: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, features]."""
    x = _conv(self.features, self.size, self.stride, False, self.dtype, "conv")(
      x
    )
    x = registry.norm_at(self.norm, self.site, "bn")(x, mode)
    return x if self.linear else jax.nn.relu(x)


class LightConv(nn.Module):
  """A 3x3 convolution in two: 1x1, then each channel with its own 3x3."""

  norm: str
  site: registry.Site
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, C] to the same shape."""
    x = _conv(x.shape[-1], 1, 1, False, self.dtype, "conv1")(x)
    x = _conv(x.shape[-1], 3, 1, True, self.dtype, "conv2")(x)
    return jax.nn.relu(registry.norm_at(self.norm, self.site, "bn")(x, mode))


class Gate(nn.Module):
  """Scales each channel by a weight in (0, 1) that depends on the image."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to the same shape."""
    channels = x.shape[-1]
    wide = jnp.promote_types(x.dtype, jnp.float32)
    weight = jnp.mean(x.astype(wide), axis=(1, 2), keepdims=True)
    for name, features, activate in (
      ("squeeze", channels // GATE_REDUCTION, jax.nn.relu),
      ("excite", channels, jax.nn.sigmoid),
    ):
      linear = nn.Dense(
        features, kernel_init=layers.he_fan_out, dtype=wide, name=name
      )
      weight = activate(linear(weight))
    return x * weight.astype(x.dtype)


class Block(nn.Module):
  """Residual block: four streams of receptive fields 3, 5, 7, 9, gated, summed.

  The streams share one gate.
  """

  features: int
  norm: str
  site: registry.Site
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, I] to [B, H, W, features]."""
    site = self.site._replace(last_position=LAST_POSITION)
    y = ConvNorm(
      self.features // BOTTLENECK,
      self.norm,
      site._replace(position=1),
      dtype=self.dtype,
      name="conv1",
    )(x, mode)
    gate = Gate(name="gate")
    position = 1
    streams = []
    for depth in range(1, STREAMS + 1):
      z = y
      for i in range(depth):
        position += 1
        z = LightConv(
          self.norm,
          site._replace(position=position),
          dtype=self.dtype,
          name=f"stream{depth}_{i}",
        )(z, mode)
      streams.append(gate(z))
    y = ConvNorm(
      self.features,
      self.norm,
      site._replace(position=LAST_POSITION),
      linear=True,
      dtype=self.dtype,
      name="conv3",
    )(sum(streams[1:], streams[0]), mode)
    if x.shape[-1] != self.features:
      x = ConvNorm(
        self.features,
        self.norm,
        site._replace(position=0),
        linear=True,
        dtype=self.dtype,
        name="downsample",
      )(x, mode)
    site = self.site._replace(kind="sum")
    return jax.nn.relu(registry.apply_at(self.norm, site, "sum", x + y, mode))


class Head(nn.Module):
  """Average pooling, linear map, batch norm, ReLU: the published feature.

  Batch norm in every arm: instance norm would make one pixel zero.
  """

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, C] to [B, 1, 1, 512], float32 or wider."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x = jnp.mean(x.astype(wide), axis=(1, 2), keepdims=True)
    x = nn.Dense(
      FEATURES,
      kernel_init=nn.initializers.normal(0.01),
      dtype=wide,
      name="linear",
    )(x)
    return jax.nn.relu(BatchNorm(name="bn")(x, mode))


class OSNet(nn.Module):
  """The backbone: images to the feature, as a map of one pixel.

  Source: Zhou et al. (arXiv:1905.00953); torchreid models/osnet.py.
  Differs: behind the feature come the BNNeck and the bias-free classifier of
    every network here, in place of a classifier with bias.

  Attributes:
    norm: arm of the normalization layers, of `registry.norms()`.
    width: channel multiplier, 0.25 or above; channels are truncated.
    last_stride: 1; the network has no other.
    dtype: computation type of all but the head.
    remat: whether blocks compute their forward pass again in the backward.
  """

  norm: str = "bin"
  width: float = 1.0
  last_stride: int = 1
  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def feature_dim(self) -> int:
    """Length of the feature: 512 at every width."""
    return FEATURES

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, 3] to [B, 1, 1, 512]."""
    stem, *stages = (int(base * self.width) for base in CHANNELS)
    if self.last_stride != 1:
      raise ValueError(
        f"last_stride is {self.last_stride}, want 1: OSNet has no other."
      )
    if stages[0] < BOTTLENECK * GATE_REDUCTION:
      raise ValueError(f"width is {self.width}, want at least 0.25.")
    if min(x.shape[1:3]) < SMALLEST_SIDE:
      raise ValueError(
        f"images are {x.shape[1]}x{x.shape[2]} pixels, want at least "
        f"{SMALLEST_SIDE}x{SMALLEST_SIDE}."
      )
    site = registry.Site("norm", "osnet", 0)
    x = ConvNorm(stem, self.norm, site, 7, 2, dtype=self.dtype, name="conv1")(
      x, mode
    )
    # Padded by 1 on each side, as PyTorch does; SAME would pad the end only.
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    make_block = layers.rematerialized(Block, self.remat)
    for stage, features in enumerate(stages, 1):
      site = site._replace(stage=stage)
      for block in range(BLOCKS):
        x = make_block(
          features,
          self.norm,
          site._replace(block=block, last_block=block == BLOCKS - 1),
          dtype=self.dtype,
          name=f"layer{stage}_{block}",
        )(x, mode)
      x = registry.apply_at(
        self.norm, site._replace(kind="stage"), f"stage{stage}", x, mode
      )
      if stage < len(stages):
        x = ConvNorm(
          features,
          self.norm,
          site._replace(block=BLOCKS, last_block=False),
          dtype=self.dtype,
          name=f"transition{stage}",
        )(x, mode)
        x = nn.avg_pool(x, (2, 2), (2, 2))
    x = ConvNorm(
      stages[-1],
      self.norm,
      site._replace(stage=len(stages) + 1),
      dtype=self.dtype,
      name="conv5",
    )(x, mode)
    return Head(name="head")(x, mode)


def _conv(features, size, stride, depthwise, dtype, name):
  return layers.Conv(
    features,
    size,
    stride,
    depthwise,
    kernel_init=layers.he_fan_out,
    dtype=dtype,
    name=name,
  )


registry.register_backbone("osnet", OSNet)
