"""What MetaBIN's code calls DualNorm, arm `dualnorm_metabin`."""

from __future__ import annotations

from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import depths
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.instance import InstanceNorm


def place(site: registry.Site) -> type[nn.Module] | None:
  """Instance norm in place of batch norm, in the stem and the shallow stages.

  Not the published DualNorm (arm `dualnorm`), which keeps batch norm there.

  Source: reference fastreid/modeling/backbones/mobilenet_v2.py, type
    "DualNorm": layers 1 to 6, which are our stem and stages 1 to 5. It has the
    type for MobileNetV2 only; the other families follow our reading.
  """
  if site.kind != "norm":
    return None
  shallow = site.stage <= depths.depth_of(site, "dualnorm_metabin").shallow
  return InstanceNorm if shallow else BatchNorm


registry.register_norm("dualnorm_metabin", place=place)
