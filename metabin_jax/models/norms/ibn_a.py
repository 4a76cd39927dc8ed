"""IBN-Net's first design, arm `ibn_a`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.models import registry
from metabin_jax.models.norms import depths, variables
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.ops import normalization


class InstanceBatchNorm(nn.Module):
  """Instance norm on the first floor(C / 2) channels, batch norm on the rest.

  Source: Pan et al. (arXiv:1807.09441), IBN-a. `bin_half` has the two halves
  the other way round, and the larger one first.
  """

  @nn.compact
  def __call__(self, x: jax.Array, mode: str) -> jax.Array:
    """Normalizes [..., H, W, C]; `mode` as in ops/normalization.py."""
    half = x.shape[-1] // 2
    rest = x.shape[-1] - half
    instance = variables.affine(self, "in", half)
    bn = variables.affine(self, "bn", rest)
    running = variables.Running(self, rest)
    y, moved = normalization.batch_norm(
      x[..., half:], *bn, running.read(), mode=mode
    )
    running.write(moved, mode)
    top = normalization.instance_norm(x[..., :half], *instance)
    return jnp.concatenate([top, y], axis=-1)


def place(site: registry.Site) -> type[nn.Module] | None:
  """The halves at the first norm of every block of the shallow stages.

  Published for ResNets, layers 1 to 3. The other families follow our reading:
  the first norm is that of the 1x1 convolution into a block, and a convolution
  that stands alone (stem, transition) is not a block.
  """
  if site.kind != "norm":
    return None
  shallow = 1 <= site.stage <= depths.depth_of(site, "ibn_a").shallow
  in_block = site.last_position > 1
  if shallow and in_block and site.position == 1:
    return InstanceBatchNorm
  return BatchNorm


registry.register_norm("ibn_a", place=place)
