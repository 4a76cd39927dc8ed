"""DualNorm as its authors build it, arm `dualnorm`."""

from __future__ import annotations

from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import depths
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.instance import InstanceNorm


def place(site: registry.Site) -> type[nn.Module] | None:
  """Batch norm throughout; instance norm on the outputs of shallow blocks.

  ResNet: before the ReLU of the last block of layers 1 to 3. MobileNetV2: of
  every block of stages 1 to 5, and in place of batch norm in the stem. OSNet,
  our reading: as ResNet. The published networks have last stride 2.

  Source: Jia et al. (arXiv:1905.03422); reference models/ResNet_IFN.py,
    models/MobileNet_IFN.py.
  Differs: the published stem convolution of MobileNetV2 has a bias, which the
    instance norm behind it takes out again; here it has none.
  """
  mobile = site.family == "mobilenetv2"
  if site.kind == "norm":
    return InstanceNorm if mobile and site.stage == 0 else BatchNorm
  if site.kind == "sum" and (mobile or site.last_block):
    shallow = site.stage <= depths.depth_of(site, "dualnorm").shallow
    return InstanceNorm if shallow else None
  return None


registry.register_norm("dualnorm", place=place)
