"""The gradient through one inner step on rho: MetaBIN's bilevel core.

  rho' = clamp(rho - beta dL_mtrain(rho)/drho),   G = dL_mtest(rho')/drho

First order treats the inner gradient as a constant, G = dL_mtest/drho' at
rho'. Second order is G = (I - beta H) dL_mtest/drho', H the Hessian of
L_mtrain: either reverse mode through the inner gradient, or one
forward-over-reverse Hessian-vector product. Both clamps are straight-through:
the value is clipped, the derivative is the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from metabin_jax.ops import collectives

PyTree = Any
# rho -> (loss, parts)
Loss = Callable[[PyTree], tuple[jax.Array, Any]]
ORDERS = ("first", "reverse", "forward")


def adapt(
  balance: PyTree, gradient: PyTree, beta: jax.Array, *, second_order: bool
) -> PyTree:
  """One inner SGD step on rho, values kept in [0, 1].

  Args:
    balance: rho of every layer.
    gradient: gradient of the meta-train loss, the same tree.
    beta: inner step size, scalar.
    second_order: whether derivatives flow through `gradient`.

  Returns:
    The moved tree. Its derivative with respect to rho - beta * gradient is the
    identity, at saturated entries too.

  Source: MetaBIN, Eq. 6; reference ops.py, `meta_inner_update` with
    `INNER_CLAMP` (it clips `.data`, which autograd does not see).
  """
  if not second_order:
    gradient = jax.tree.map(jax.lax.stop_gradient, gradient)

  def move(rho, g):
    new = rho - beta.astype(rho.dtype) * g.astype(rho.dtype)
    # Not jnp.clip alone: its derivative would freeze channels at the bounds,
    # where every channel starts.
    return new + jax.lax.stop_gradient(jnp.clip(new, 0.0, 1.0) - new)

  return jax.tree.map(move, balance, gradient)


def meta_gradient(
  mtrain_loss: Loss,
  mtest_loss: Loss,
  balance: PyTree,
  beta: jax.Array,
  *,
  order: str,
) -> tuple[PyTree, dict[str, Any]]:
  """Gradient of the meta-test loss with respect to rho before the inner step.

  Args:
    mtrain_loss: rho -> (meta-train loss, parts).
    mtest_loss: rho' -> (meta-test loss, parts).
    balance: rho of every layer.
    beta: inner step size, scalar.
    order: "first"; "reverse" for second order by reverse-over-reverse;
      "forward" for second order by forward-over-reverse.

  Returns:
    The gradient tree, and {"mtrain", "mtest": (loss, parts), "inner_gradient",
    "moved": rho'}.

  Raises:
    ValueError: for an unknown order.
  """
  if order not in ORDERS:
    raise ValueError(f"order is {order!r}, want one of {ORDERS}.")
  inner = collectives.value_and_grad(mtrain_loss)

  if order == "reverse":

    def through(rho):
      mtrain, gradient = inner(rho)
      moved = adapt(rho, gradient, beta, second_order=True)
      loss, parts = mtest_loss(moved)
      return loss, (mtrain, gradient, moved, parts)

    (loss, aux), outer = collectives.value_and_grad(through)(balance)
    mtrain, gradient, moved, parts = aux
  else:
    mtrain, gradient = inner(balance)
    moved = adapt(balance, gradient, beta, second_order=False)
    (loss, parts), outer = collectives.value_and_grad(mtest_loss)(moved)
    if order == "forward":
      # H is symmetric, so (I - beta H)^T v = v - beta * d/de grad(rho + e v).
      _, curved = jax.jvp(lambda rho: inner(rho)[1], (balance,), (outer,))
      outer = jax.tree.map(
        lambda v, hv: v - beta.astype(v.dtype) * hv, outer, curved
      )
  details = {
    "mtrain": mtrain,
    "mtest": (loss, parts),
    "inner_gradient": gradient,
    "moved": moved,
  }
  return outer, details
