"""IBN-Net's second design, arm `ibn_b`."""

from __future__ import annotations

from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import depths
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.instance import InstanceNorm


def place(site: registry.Site) -> type[nn.Module] | None:
  """Instance norm in the stem and after the sum that ends each early stage.

  Source: Pan et al. (arXiv:1807.09441), IBN-b, for ResNets: before the ReLU of
  the last block of layers 1 and 2. The other families follow our reading.
  """
  if site.kind == "norm":
    return InstanceNorm if site.stage == 0 else BatchNorm
  if site.kind == "sum" and site.last_block:
    early = site.stage <= depths.depth_of(site, "ibn_b").early
    return InstanceNorm if early else None
  return None


registry.register_norm("ibn_b", place=place)
