"""BNTA's heads over the horizontal parts of a body."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.ops import stripes

# Channels of the feature of a part.
CHANNELS = 256


# What a network says of the parts of a body: nothing, what `PartHeads` does, or
# the mean of each stripe of its last map, for which no weights are needed.
HEADS = ("none", "bnta", "stripes")


class Parts(NamedTuple):
  """What a network says of P parts of each image."""

  features: jax.Array  # [B, P, C]: what pairs of images are compared by
  # With heads "bnta" only:
  position: Any = None  # [B, P, P] logits: which part is this
  identity: Any = None  # [B, P, K] logits: who is this


class PartHeads(nn.Module):
  """Heads P and M of BNTA.

  Positioning: one linear classifier, shared by all parts, says which part it
  is given. Matching: for every part its own 1x1 convolution, batch norm, ReLU
  and linear classifier of persons.

  Attributes:
    num_classes: identities in the training set, K.
    parts: P.
    channels: C of the matching features.

  Source: BNTA (AAAI 2022), Eqs. 4 to 7; sizes from the paper's own counts.
  Differs: the paper does not say what stands behind the convolution, nor how
    the classifiers begin; batch norm is counted there (60 layers), ReLU and
    the rest are those of PCB (Sun et al., ECCV 2018).
  """

  num_classes: int
  parts: int = stripes.PARTS
  channels: int = CHANNELS

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> Parts:
    """Maps a feature map [B, H, W, D] to what is said of its parts.

    Args:
      x: last feature map of the backbone.
      mode: of the batch norms, see ops/normalization.py.
    """
    pooled = stripes.stripe_pool(x, self.parts)
    dim, parts, channels = pooled.shape[-1], self.parts, self.channels
    small, zeros = nn.initializers.normal(0.001), nn.initializers.zeros
    kernel = self.param("position", small, (dim, parts))
    bias = self.param("position_bias", zeros, (parts,))
    position = jnp.matmul(pooled, kernel) + bias[None, None]
    he_normal = nn.initializers.he_normal(batch_axis=0)
    kernel = self.param("projection", he_normal, (parts, dim, channels))
    projected = jnp.einsum("bpd,pdc->bpc", pooled, kernel)
    normalized = [
      BatchNorm(name=f"bn{part}")(projected[:, part, None, None], mode)
      for part in range(parts)
    ]
    features = nn.relu(jnp.stack(normalized, axis=1)[:, :, 0, 0])
    shape = (parts, channels, self.num_classes)
    kernel = self.param("identity", small, shape)
    bias = self.param("identity_bias", zeros, (parts, self.num_classes))
    identity = jnp.einsum("bpc,pck->bpk", features, kernel) + bias[None]
    return Parts(features, position, identity)
