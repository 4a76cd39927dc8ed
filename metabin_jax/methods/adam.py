"""Adam and AMSGrad, in PyTorch's form."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

PyTree = Any


class AdamState(NamedTuple):
  """Trees like the parameters: every leaf belongs to one parameter."""

  count: PyTree  # int32 scalars: updates of each parameter
  mean: PyTree  # running mean of gradients
  square: PyTree  # running mean of squared gradients
  largest: PyTree  # AMSGrad: largest `square` so far; Adam: None


def scale_by_adam(
  beta1: float = 0.9,
  beta2: float = 0.999,
  epsilon: float = 1e-8,
  *,
  amsgrad: bool = False,
) -> optax.GradientTransformation:
  """Mean of gradients over the root of their mean square.

  m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2;
  update = m / (1 - b1^t) / (sqrt(w) / sqrt(1 - b2^t) + epsilon)

  with w = v, or for AMSGrad the largest v so far.

  Updates are counted for each parameter, so that one which was frozen at first
  has t = 1 at its own first update.

  Args:
    beta1: b1, in (0, 1).
    beta2: b2, in (0, 1).
    epsilon: added to the root.
    amsgrad: see above.

  Returns:
    An optax transform with `AdamState`.

  Source: torch.optim.Adam; Kingma and Ba (ICLR 2015), Reddi et al. (ICLR 2018).
  Differs: `optax.amsgrad` corrects v before it takes the maximum, or not at
    all; both give other numbers than PyTorch. `optax.scale_by_adam` counts the
    updates of all parameters together.
  """

  def init(params):
    # Trees of their own: a donated state must not hold a buffer twice.
    mean, square, largest = (
      jax.tree.map(jnp.zeros_like, params) for _ in range(3)
    )
    count = jax.tree.map(lambda _: jnp.zeros((), jnp.int32), params)
    return AdamState(count, mean, square, largest if amsgrad else None)

  def update(grads, state, params=None):
    del params
    count = jax.tree.map(lambda t: t + 1, state.count)
    mean = jax.tree.map(
      lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, grads
    )
    square = jax.tree.map(
      lambda v, g: beta2 * v + (1 - beta2) * g * g, state.square, grads
    )
    largest = None
    if amsgrad:
      largest = jax.tree.map(jnp.maximum, state.largest, square)

    def leaving(t, m, w):
      t = t.astype(m.dtype)
      root = jnp.sqrt(w) / jnp.sqrt(_one_minus_power(beta2, t)) + epsilon
      return m / _one_minus_power(beta1, t) / root

    updates = jax.tree.map(leaving, count, mean, largest if amsgrad else square)
    return updates, AdamState(count, mean, square, largest)

  return optax.GradientTransformation(init, update)


def _one_minus_power(beta, t):
  """1 - beta^t; the difference itself would lose four digits in float32."""
  return -jnp.expm1(t * math.log(beta))
