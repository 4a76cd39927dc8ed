"""Style normalization and restitution, arm `snr`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import layers, registry
from metabin_jax.models.norms import depths, variables
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.ops import normalization
from metabin_jax.ops.restitution import Gate, restitute
from metabin_jax.ops.restitution_loss import Pooled

REDUCTION = 16
# MobileNetV2 has seven stages: the last of each map size, and the very last.
# Elsewhere the module stands after every stage, as published for ResNets.
MOBILE_STAGES = (2, 3, 5, 7)


class StyleRestitution(nn.Module):
  """The module after a stage: F to F+.

  Sows `Pooled` into the collection "aux", for the loss "snr".

  Attributes:
    loss_weight: of this module in the loss.
  """

  loss_weight: float = 0.5

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Maps [..., H, W, C] to the same shape; every mode does the same."""
    normalization.check_mode(mode)
    channels = x.shape[-1]
    width = max(1, channels // REDUCTION)
    scale, bias = variables.affine(self, "in", channels)
    zeros = nn.initializers.zeros
    gate = Gate(
      self.param("squeeze_kernel", layers.torch_uniform, (channels, width)),
      self.param("squeeze_bias", zeros, (width,)),
      self.param("excite_kernel", layers.torch_uniform, (width, channels)),
      self.param("excite_bias", zeros, (channels,)),
    )
    maps = restitute(x, scale, bias, gate)
    if self.is_mutable_collection("aux"):
      self.sow(
        "aux",
        "pooled",
        Pooled(
          given=_pool(x),
          restored=_pool(maps.restored),
          contaminated=_pool(maps.contaminated),
          weight=self.loss_weight,
        ),
      )
    return maps.restored


class EarlyStyleRestitution(StyleRestitution):
  """The module after an early stage, which the loss weighs less."""

  loss_weight: float = 0.1


def place(site: registry.Site) -> type[nn.Module] | None:
  """Batch norm throughout, and the module after stages.

  Source: Jin et al. (arXiv:2005.11037): after the four stages of ResNet-50,
    with weights 0.1, 0.1, 0.5, 0.5 in the loss. For the other families both
    are our reading.
  """
  if site.kind == "norm":
    return BatchNorm
  if site.kind != "stage":
    return None
  if site.family == "mobilenetv2" and site.stage not in MOBILE_STAGES:
    return None
  early = site.stage <= depths.depth_of(site, "snr").early
  return EarlyStyleRestitution if early else StyleRestitution


def _pool(x):
  wide = jnp.promote_types(x.dtype, jnp.float32)
  return jnp.mean(x.astype(wide), axis=(-3, -2))


registry.register_norm("snr", place=place)
