"""A convolution made of matrix products, for float64 tests on the CPU.

XLA's CPU back end has no fast float64 convolution (a ResNet-18 step on 20
small images takes half a minute) but a fast float64 matrix product.
`convolution_test.py` shows that this form and the library's agree in values
and in first and second derivatives.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def conv_by_products(
  x: jax.Array, kernel: jax.Array, *, stride: int = 1
) -> jax.Array:
  """The same map as `metabin_jax.ops.convolution.conv`."""
  kh, kw = kernel.shape[:2]
  out_h, out_w = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
  pad_h, pad_w = (kh - 1) // 2, (kw - 1) // 2
  padded = jnp.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
  windows = [
    padded[
      :,
      i : i + (out_h - 1) * stride + 1 : stride,
      j : j + (out_w - 1) * stride + 1 : stride,
    ]
    for i in range(kh)
    for j in range(kw)
  ]
  columns = jnp.concatenate(windows, axis=-1).reshape(-1, kh * kw * x.shape[-1])
  flat = jnp.matmul(columns, kernel.reshape(-1, kernel.shape[-1]))
  return flat.reshape(x.shape[0], out_h, out_w, kernel.shape[-1])
