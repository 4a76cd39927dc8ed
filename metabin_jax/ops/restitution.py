"""Style normalization and restitution (SNR): what instance norm takes, sorted.

  R = F - IN(F),  F+ = IN(F) + a R,  F- = IN(F) + (1 - a) R

The gate a, one value in (0, 1) for each image and channel, gives back what
tells persons apart; the rest is style.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metabin_jax.ops import normalization


class Gate(NamedTuple):
  """The two layers behind a, with R the width between them."""

  squeeze_kernel: jax.Array  # [C, R]
  squeeze_bias: jax.Array  # [R]
  excite_kernel: jax.Array  # [R, C]
  excite_bias: jax.Array  # [C]


class Restitution(NamedTuple):
  """Three maps of one shape."""

  restored: jax.Array  # F+, which the network goes on with
  normalized: jax.Array  # IN(F)
  contaminated: jax.Array  # F-, for the loss alone


def restitute(
  x: jax.Array, scale: jax.Array, bias: jax.Array, gate: Gate
) -> Restitution:
  """Normalizes each image and gives a part of what that removed back.

  Args:
    x: [..., H, W, C] activations, F.
    scale: [C] of the instance norm.
    bias: [C] of the instance norm.
    gate: a = sigmoid(W2 relu(W1 mean(R) + b1) + b2), the mean over the pixels.

  Returns:
    Maps of the shape and dtype of x.

  Raises:
    ValueError: if the parameters do not fit the channels.

  Source: Jin et al. (arXiv:2005.11037), Eqs. 1 to 4.
  """
  channels, width = x.shape[-1], gate.squeeze_bias.shape[-1]
  wanted = ((channels, width), (width,), (width, channels), (channels,))
  for name, value, want in zip(gate._fields, gate, wanted, strict=True):
    if value.shape != want:
      raise ValueError(f"{name} has shape {value.shape}, want {want}.")
  normalized = normalization.instance_norm(x, scale, bias)
  residual = x - normalized
  wide = jnp.promote_types(x.dtype, jnp.float32)
  pooled = jnp.mean(residual.astype(wide), axis=(-3, -2), keepdims=True)
  hidden = jax.nn.relu(_dense(pooled, gate.squeeze_kernel, gate.squeeze_bias))
  a = jax.nn.sigmoid(_dense(hidden, gate.excite_kernel, gate.excite_bias))
  a = a.astype(x.dtype)
  return Restitution(
    normalized + a * residual, normalized, normalized + (1 - a) * residual
  )


def _dense(x, kernel, bias):
  bias = bias.reshape((1,) * (x.ndim - 1) + bias.shape)
  return jnp.matmul(x, kernel.astype(x.dtype)) + bias
