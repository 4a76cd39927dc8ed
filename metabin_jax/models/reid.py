"""The whole network: pixels in, pooled feature, embedding and logits out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.part_heads import HEADS, PartHeads, Parts
from metabin_jax.ops import stripes

# "none": what is pooled is the embedding, and what is classified (MAR).
NECKS = ("batch_norm", "none")
# ImageNet statistics on a scale of 0 to 255, RGB.
PIXEL_MEAN = tuple(255 * v for v in (0.485, 0.456, 0.406))
PIXEL_STD = tuple(255 * v for v in (0.229, 0.224, 0.225))


class Outputs(NamedTuple):
  """What the network gives for a batch."""

  pooled: jax.Array  # [B, D] before the BNNeck: metric losses
  embedding: jax.Array  # [B, D] after the neck: retrieval, by cosine
  logits: jax.Array  # [B, K]: cross entropy
  # What layers have sown into the collection "aux", for losses of theirs.
  aux: Any = ()
  parts: Any = None  # `Parts`, unless the network has no heads


class ReIDNetwork(nn.Module):
  """Backbone, global average pooling, neck, bias-free classifier.

  Attributes:
    backbone: module called as `backbone(x, mode)`, giving [B, h, w, D].
    num_classes: identities in the training set, K.
    dtype: computation type of the backbone; losses see float32 or wider.
    heads: what it says of the parts of a body, of `part_heads.HEADS`.
    parts: number of parts, P.
    neck: between pooling and embedding, of `NECKS`.
  """

  backbone: nn.Module
  num_classes: int
  dtype: Any = jnp.float32
  heads: str = "none"
  parts: int = stripes.PARTS
  neck: str = "batch_norm"

  @nn.compact
  def __call__(self, images: jax.Array, *, mode: str) -> Outputs:
    """Runs the network.

    Args:
      images: [B, H, W, 3] RGB in 0..255, uint8 or floating; normalized here.
      mode: "update", "hold" or "eval", see ops/normalization.py. "update"
        needs `mutable=["batch_stats"]`.

    Returns:
      Outputs; the neck's bias is a parameter that optimizers keep frozen.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
      raise ValueError(f"images have shape {images.shape}, want [B, H, W, 3].")
    wide = jnp.promote_types(self.dtype, jnp.float32)
    mean, std = (
      jnp.asarray(v, wide).reshape(1, 1, 1, 3) for v in (PIXEL_MEAN, PIXEL_STD)
    )
    x = ((images.astype(wide) - mean) / std).astype(self.dtype)
    x = self.backbone(x, mode).astype(wide)
    pooled = jnp.mean(x, axis=(1, 2))
    embedding = pooled
    if self.neck == "batch_norm":
      neck = BatchNorm(name="neck")
      embedding = neck(pooled[:, None, None, :], mode)[:, 0, 0, :]
    kernel = self.param(
      "classifier",
      nn.initializers.normal(0.001),
      (pooled.shape[-1], self.num_classes),
    )
    logits = jnp.matmul(embedding, kernel.astype(embedding.dtype))
    return Outputs(pooled, embedding, logits, parts=self._parts(x, mode))

  def _parts(self, x: jax.Array, mode: str) -> Parts | None:
    if self.heads == "bnta":
      return PartHeads(self.num_classes, self.parts, name="part_heads")(x, mode)
    if self.heads == "stripes":
      return Parts(stripes.stripe_pool(x, self.parts))
    return None


def create(
  backbone: str,
  *,
  norm: str,
  num_classes: int,
  width: float = 1.0,
  last_stride: int = 1,
  dtype: Any = jnp.float32,
  remat: bool = False,
  heads: str = "none",
  parts: int = stripes.PARTS,
  neck: str = "batch_norm",
  last_relu: bool = True,
) -> ReIDNetwork:
  """Creates a network by name.

  Args:
    backbone: a name of `registry.backbones()`: "mobilenetv2", "resnet18",
      "resnet34", "resnet50", "resnet101", "resnet152", ...
    norm: arm of the backbone's norm layers, a name of `registry.norms()`.
    num_classes: identities in the training set, at least 1.
    width: channel multiplier.
    last_stride: stride of the backbone's last down-sampling stage; 1, as re-ID
      networks use it, or 2, as for ImageNet.
    dtype: computation type.
    remat: whether the blocks of the backbone compute their forward pass again
      in the backward pass, in place of keeping it: the same numbers with less
      kept between the two, for more arithmetic.
    heads: what it says of the parts of a body: "none", "bnta" (heads with
      weights) or "stripes" (means of the last map).
    parts: number of parts, at least 1.
    neck: "batch_norm" in every arm of MetaBIN, or "none".
    last_relu: whether the backbone ends in a ReLU; False for ResNets only.

  Returns:
    The module; `init_variables` makes its three trees.

  Raises:
    ValueError: for an unknown backbone, norm, heads or neck, another last
      stride, no classes or parts, or `remat` or `last_relu=False` for a
      backbone that has no such attribute.
  """
  registry.check_norm(norm)
  if num_classes < 1:
    raise ValueError(f"num_classes is {num_classes}, want at least 1.")
  if last_stride not in (1, 2):
    raise ValueError(f"last_stride is {last_stride}, want 1 or 2.")
  if heads not in HEADS:
    raise ValueError(f"heads is {heads!r}, want one of {HEADS}.")
  if parts < 1:
    raise ValueError(f"parts is {parts}, want at least 1.")
  if neck not in NECKS:
    raise ValueError(f"neck is {neck!r}, want one of {NECKS}.")
  body = registry.make_backbone(
    backbone, norm=norm, width=width, last_stride=last_stride, dtype=dtype
  )
  if remat:
    if not hasattr(body, "remat"):
      raise ValueError(
        f"backbone {backbone!r} has no attribute remat; set remat to False."
      )
    body = body.clone(remat=True)
  if not last_relu:
    if not hasattr(body, "last_relu"):
      raise ValueError(
        f"backbone {backbone!r} has no attribute last_relu; take a ResNet, or "
        "set last_relu to True."
      )
    body = body.clone(last_relu=False)
  return ReIDNetwork(body, num_classes, dtype, heads, parts, neck)


def init_variables(
  network: ReIDNetwork, key: jax.Array, height: int, width: int
) -> dict[str, Any]:
  """Random initial variables.

  Args:
    network: from `create`.
    key: PRNG key.
    height: image height in pixels; parameters do not depend on it.
    width: image width in pixels.

  Returns:
    {"params": ..., "balance": ..., "batch_stats": ...}; `balance` (every rho)
    is empty for arms without balancing parameters.
  """
  images = jnp.zeros((2, height, width, 3), jnp.uint8)
  variables = jax.jit(lambda k: network.init(k, images, mode="hold"))(key)
  return {
    name: variables.get(name, {})
    for name in ("params", "balance", "batch_stats")
  }
