"""The convolution that the backbones are built from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from metabin_jax.ops import convolution

# PyTorch's default: uniform within 1 / sqrt(fan_in).
torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# ResNet's: normal with variance 2 / fan_out.
he_fan_out = nn.initializers.variance_scaling(
  2.0, "fan_out", "normal", in_axis=-2, out_axis=-1
)


def rematerialized(block: type[nn.Module], wanted: bool) -> Any:
  """A block's class, or one that keeps nothing but its input for the backward.

  Args:
    block: a module called as block(x, mode).
    wanted: False returns `block` itself.

  Returns:
    A class with the same attributes, variables and numbers; its backward pass
    computes the block's forward pass again.
  """
  return nn.remat(block, static_argnums=(2,)) if wanted else block


class Conv(nn.Module):
  """Bias-free convolution with PyTorch's padding; computes in `dtype`."""

  features: int
  size: int = 1
  stride: int = 1
  depthwise: bool = False
  kernel_init: Any = torch_uniform
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, I] to [B, H / stride, W / stride, features]."""
    inputs = 1 if self.depthwise else x.shape[-1]
    shape = (self.size, self.size, inputs, self.features)
    kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
    apply = convolution.depthwise if self.depthwise else convolution.conv
    return apply(x.astype(self.dtype), kernel, stride=self.stride)
