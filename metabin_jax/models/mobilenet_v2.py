"""MobileNetV2, as MetaBIN uses it (`mobilenetv2`) and as published.

Two departures from the published network, both from the reference code: the
first inverted residual keeps its 1x1 expansion (hence 53 norm layers, not 52),
and channels are truncated, int(c * width), not rounded to multiples of 8.
`mobilenetv2_standard` has neither: it is what most ImageNet weights are for.
Both have last stride 1 by default.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import layers, registry

# Expansion, channels at width 1, blocks, stride of the first block.
STAGES = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 1),
  (6, 320, 1, 1),
)
# The stage that `last_stride` is about.
LAST_STRIDED = 6


class ConvNorm(nn.Module):
  """Convolution, normalization, ReLU6."""

  features: int
  norm: str
  site: registry.Site
  size: int = 1
  stride: int = 1
  depthwise: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, features]."""
    x = layers.Conv(
      self.features,
      self.size,
      self.stride,
      self.depthwise,
      dtype=self.dtype,
      name="conv",
    )(x)
    return jax.nn.relu6(registry.norm_at(self.norm, self.site, "bn")(x, mode))


class InvertedResidual(nn.Module):
  """Expand, filter each channel, project; add the input where shapes agree."""

  features: int
  norm: str
  expansion: int
  stride: int
  site: registry.Site
  expand: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, features]."""
    hidden = x.shape[-1] * self.expansion
    first = 1 if self.expand else 0
    site = self.site._replace(last_position=first + 2)
    y = x
    if self.expand:
      y = ConvNorm(
        hidden,
        self.norm,
        site._replace(position=1),
        dtype=self.dtype,
        name="conv1",
      )(y, mode)
    y = ConvNorm(
      hidden,
      self.norm,
      site._replace(position=first + 1),
      3,
      self.stride,
      True,
      dtype=self.dtype,
      name="dwconv2",
    )(y, mode)
    y = layers.Conv(self.features, dtype=self.dtype, name="conv3")(y)
    site = site._replace(position=first + 2)
    y = registry.norm_at(self.norm, site, "bn")(y, mode)
    if self.stride == 1 and x.shape[-1] == self.features:
      y = x + y
    site = self.site._replace(kind="sum")
    return registry.apply_at(self.norm, site, "sum", y, mode)


class MobileNetV2(nn.Module):
  """The backbone: images to the final feature map, 1/16 of the size.

  Attributes:
    norm: arm of the normalization layers, of `registry.norms()`.
    width: channel multiplier, above 0; the paper's is 1.4.
    last_stride: stride of the sixth stage, 1 or 2.
    standard: the published network (Sandler et al., arXiv:1801.04381): no 1x1
      convolution where nothing is expanded, channels in multiples of 8.
    dtype: computation type.
    remat: whether blocks compute their forward pass again in the backward.
  """

  norm: str = "bin"
  width: float = 1.0
  last_stride: int = 1
  standard: bool = False
  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def feature_dim(self) -> int:
    """Channels of the final map: 1280, more for widths above 1."""
    return self.channels(1280) if self.width > 1 else 1280

  def channels(self, base: int) -> int:
    """Channels where width 1 has `base`."""
    wanted = base * self.width
    return _round_to_8(wanted) if self.standard else int(wanted)

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [B, H, W, 3] to [B, H / 16, W / 16, feature_dim]."""
    if int(16 * self.width) < 2:
      raise ValueError(f"width is {self.width}, want at least 0.125.")
    site = registry.Site("norm", "mobilenetv2", 0)
    x = ConvNorm(
      self.channels(32), self.norm, site, 3, 2, dtype=self.dtype, name="layer1"
    )(x, mode)
    make_block = layers.rematerialized(InvertedResidual, self.remat)
    for stage, (expansion, base, blocks, stride) in enumerate(STAGES, 1):
      if stage == LAST_STRIDED:
        stride = self.last_stride
      for block in range(blocks):
        site = site._replace(
          stage=stage, block=block, last_block=block == blocks - 1
        )
        x = make_block(
          self.channels(base),
          self.norm,
          expansion,
          stride if block == 0 else 1,
          site,
          expand=expansion > 1 or not self.standard,
          dtype=self.dtype,
          # The reference counts the stem as layer 1.
          name=f"layer{stage + 1}_{block}",
        )(x, mode)
      x = registry.apply_at(
        self.norm,
        registry.Site("stage", "mobilenetv2", stage),
        f"stage{stage}",
        x,
        mode,
      )
    site = registry.Site("norm", "mobilenetv2", len(STAGES) + 1)
    return ConvNorm(
      self.feature_dim, self.norm, site, dtype=self.dtype, name="layer9"
    )(x, mode)


def _round_to_8(channels: float) -> int:
  """The nearest multiple of 8, one more if that takes away over a tenth."""
  rounded = max(8, int(channels + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * channels else rounded


registry.register_backbone("mobilenetv2", MobileNetV2)
registry.register_backbone(
  "mobilenetv2_standard", functools.partial(MobileNetV2, standard=True)
)
