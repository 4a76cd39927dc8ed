"""Where OSNet's variants have instance norm, arms `osnet_ibn`, `osnet_ain`.

Both are named after the network that they were made for (models/osnet.py). In
another one the same numbers of stages and blocks say where.
"""

from __future__ import annotations

from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.instance import InstanceNorm

# OSNet-AIN: (stage, block) of the blocks that end in instance norm.
ENDING_IN_INSTANCE_NORM = ((1, 0), (1, 1), (2, 1), (3, 0))


def place_ibn(site: registry.Site) -> type[nn.Module] | None:
  """Instance norm in the stem and after the sums of the first stage.

  Source: torchreid models/osnet.py, `osnet_ibn_x1_0`.
  """
  if site.kind == "norm":
    return InstanceNorm if site.stage == 0 else BatchNorm
  if site.kind == "sum" and site.stage == 1:
    return InstanceNorm
  return None


def place_ain(site: registry.Site) -> type[nn.Module] | None:
  """Instance norm in the stem and as the last norm of four blocks.

  It replaces the batch norm behind the block's last convolution, before the
  sum; the shortcut keeps its own. Which blocks: found by the authors' search.

  Source: Zhou et al. (arXiv:1910.06827), OSNet-AIN; torchreid
    models/osnet_ain.py, `osnet_ain_x1_0`.
  """
  if site.kind != "norm":
    return None
  last = site.position == site.last_position
  here = (site.stage, site.block) in ENDING_IN_INSTANCE_NORM
  return InstanceNorm if site.stage == 0 or (here and last) else BatchNorm


registry.register_norm("osnet_ibn", place=place_ibn)
registry.register_norm("osnet_ain", place=place_ain)
