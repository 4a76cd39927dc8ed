"""ResNet-18 to ResNet-152 with last stride 1, as re-ID networks use them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import layers, registry

# Blocks of each stage, and whether a block is a bottleneck.
DEPTHS = {
  18: ((2, 2, 2, 2), False),
  34: ((3, 4, 6, 3), False),
  50: ((3, 4, 6, 3), True),
  101: ((3, 4, 23, 3), True),
  152: ((3, 8, 36, 3), True),
}
STRIDES = (1, 2, 2)  # and `last_stride`


class Block(nn.Module):
  """Residual block: two 3x3 convolutions, or a 1x1, 3x3, 1x1 bottleneck."""

  planes: int
  norm: str
  stride: int
  bottleneck: bool
  site: registry.Site
  dtype: Any = jnp.float32
  last_relu: bool = True

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, planes (x 4)]."""
    out = self.planes * (4 if self.bottleneck else 1)
    # (features, size, stride): the stride sits on the (first) 3x3.
    if self.bottleneck:
      plan = [(self.planes, 1, 1), (self.planes, 3, self.stride), (out, 1, 1)]
    else:
      plan = [(self.planes, 3, self.stride), (out, 3, 1)]
    y = x
    for i, (features, size, stride) in enumerate(plan, 1):
      y = _conv(features, size, stride, self.dtype, f"conv{i}")(y)
      site = self.site._replace(position=i, last_position=len(plan))
      y = registry.norm_at(self.norm, site, f"bn{i}")(y, mode)
      if i < len(plan):
        y = jax.nn.relu(y)
    if self.stride != 1 or x.shape[-1] != out:
      x = Shortcut(
        out,
        self.norm,
        self.stride,
        self.site._replace(position=0, last_position=len(plan)),
        dtype=self.dtype,
        name="downsample",
      )(x, mode)
    site = self.site._replace(kind="sum")
    x = registry.apply_at(self.norm, site, "sum", x + y, mode)
    return jax.nn.relu(x) if self.last_relu else x


class Shortcut(nn.Module):
  """1x1 projection of a block's input."""

  features: int
  norm: str
  stride: int
  site: registry.Site
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, features]."""
    x = _conv(self.features, 1, self.stride, self.dtype, "conv")(x)
    return registry.norm_at(self.norm, self.site, "bn")(x, mode)


class ResNet(nn.Module):
  """The backbone: images to the final feature map, 1/16 of the size.

  Attributes:
    depth: 18, 34, 50, 101 or 152.
    norm: arm of the normalization layers, of `registry.norms()`.
    width: multiplier of the 64 base channels, above 0.
    last_stride: stride of the fourth stage, 1 or 2.
    dtype: computation type.
    remat: whether blocks compute their forward pass again in the backward.
    last_relu: whether the last block ends in a ReLU; without it features may
      point anywhere (MAR).
  """

  depth: int = 50
  norm: str = "bin"
  width: float = 1.0
  last_stride: int = 1
  dtype: Any = jnp.float32
  remat: bool = False
  last_relu: bool = True

  @property
  def feature_dim(self) -> int:
    """Channels of the final map: 512 or 2048 at width 1."""
    return int(64 * self.width) * 8 * (4 if DEPTHS[self.depth][1] else 1)

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, 3] to [B, H / 16, W / 16, feature_dim]."""
    if self.depth not in DEPTHS:
      raise ValueError(f"depth is {self.depth}, want one of {sorted(DEPTHS)}.")
    blocks, bottleneck = DEPTHS[self.depth]
    planes = int(64 * self.width)
    if planes < 2:
      raise ValueError(f"width is {self.width}, want at least 0.032.")
    x = _conv(planes, 7, 2, self.dtype, "conv1")(x)
    site = registry.Site("norm", "resnet", 0)
    x = jax.nn.relu(registry.norm_at(self.norm, site, "bn1")(x, mode))
    # Padded by 1 on each side, as PyTorch does; SAME would pad the end only.
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    make_block = layers.rematerialized(Block, self.remat)
    strides = (*STRIDES, self.last_stride)
    for stage, (count, stride) in enumerate(
      zip(blocks, strides, strict=True), 1
    ):
      for block in range(count):
        last = stage == len(blocks) and block == count - 1
        x = make_block(
          planes * 2 ** (stage - 1),
          self.norm,
          stride if block == 0 else 1,
          bottleneck,
          site._replace(
            stage=stage, block=block, last_block=block == count - 1
          ),
          dtype=self.dtype,
          last_relu=self.last_relu or not last,
          name=f"layer{stage}_{block}",
        )(x, mode)
      x = registry.apply_at(
        self.norm,
        registry.Site("stage", "resnet", stage),
        f"stage{stage}",
        x,
        mode,
      )
    return x


def _conv(features, size, stride, dtype, name):
  return layers.Conv(
    features,
    size,
    stride,
    kernel_init=layers.he_fan_out,
    dtype=dtype,
    name=name,
  )


for _depth in DEPTHS:
  registry.register_backbone(
    f"resnet{_depth}", functools.partial(ResNet, depth=_depth)
  )
