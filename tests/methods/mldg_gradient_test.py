"""MLDG's outer gradient against central differences, in float64."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from golden import rules
from jax.flatten_util import ravel_pytree
from tiny_mldg import (
  MTEST_BATCH,
  MTRAIN,
  MTRAIN_BATCH,
  RATE,
  RATIO,
  RHO_LR,
  keep_gradient,
  make_step,
)

from metabin_jax.methods import state as train_state


def step_sizes(theta):
  """The inner step of every entry of (params, balance), by its name."""

  def size(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name.endswith("rho"):
      rate = RHO_LR
    elif name == "0/neck/bn_bias":
      rate = 0.0
    else:
      rate = 2 * RATE if name.endswith("bias") else RATE
    return np.full(leaf.shape, rate)

  return ravel_pytree(jax.tree_util.tree_map_with_path(size, theta))[0]


@functools.cache
def maps():
  """Float64 on flat theta: start, losses, step sizes, the step's gradient."""
  values = tiny.variables(dtype=jnp.float64)
  network = tiny.network(dtype=jnp.float64)
  theta = (values["params"], values["balance"])
  start, unravel = ravel_pytree(theta)

  def loss_on(batch, objective):
    def loss(flat):
      params, balance = unravel(flat)
      outputs = network.apply(
        {**values, "params": params, "balance": balance},
        batch.image,
        mode="hold",
      )
      return objective(outputs, batch)[0]

    return jax.jit(loss)

  def gradient(ratio, second_order, combined):
    txs = (keep_gradient(), keep_gradient())
    state = train_state.create_state(values, *txs)
    step = make_step(
      txs=txs,
      mtest=MTRAIN,
      dtype=jnp.float64,
      ratio=ratio,
      second_order=second_order,
      combined=combined,
    )
    after, _ = step(state, MTRAIN_BATCH, MTEST_BATCH)
    return ravel_pytree((after.opt_params, after.opt_balance))[0]

  inner = loss_on(MTRAIN_BATCH, MTRAIN)
  # With cross entropy: else neither neck nor classifier is in it.
  outer = loss_on(MTEST_BATCH, MTRAIN)
  return start, inner, outer, step_sizes(theta), functools.cache(gradient)


def assert_slopes(agree, item, gradient, loss, point):
  """Compares with central differences of `loss` in four directions."""
  random = np.random.default_rng(0)
  for _ in range(4):
    direction, step = random.standard_normal(point.size), 1e-6
    ahead, behind = (loss(point + sign * step * direction) for sign in (1, -1))
    slope = float(ahead - behind) / (2 * step)
    scale = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
    error = abs(float(gradient @ direction) - slope) / scale
    agree(f"mldg against central differences: {item}", error, 1e-7)


@pytest.mark.parametrize(
  "combined", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_second_order_is_the_slope_of_the_whole_map(agree, float64, combined):
  start, inner, outer, sizes, gradient = maps()
  slope_of_inner = jax.jit(jax.grad(inner))

  def whole(theta):
    moved = theta - RATIO * sizes * slope_of_inner(theta)
    return outer(moved) + (inner(theta) if combined else 0.0)

  balance = tiny.variables()["balance"]
  rho = start - RATIO * sizes * slope_of_inner(start)
  rho = rho[-sum(leaf.size for leaf in jax.tree.leaves(balance)) :]
  assert np.all((rho > 0) & (rho < 1)), "the clamp would be active"
  got = gradient(RATIO, True, combined)
  assert_slopes(agree, "second order", got, whole, start)
  # Orders must be told apart by much more than the differences' own error.
  assert rules.relative_error(gradient(RATIO, False, combined), got) > 1e-2


def test_first_order_is_the_slope_at_the_moved_parameters(agree, float64):
  start, inner, outer, sizes, gradient = maps()
  moved = start - RATIO * sizes * jax.grad(inner)(start)
  got = gradient(RATIO, False, False)
  assert_slopes(agree, "first order", got, outer, moved)
  # Where the slope is taken must matter.
  assert rules.relative_error(gradient(0.0, False, False), got) > 1e-2


def test_combined_adds_the_gradient_of_the_meta_train_loss(agree, float64):
  start, inner, _, _, gradient = maps()
  for second_order in (False, True):
    with_it, without = (
      gradient(RATIO, second_order, combined) for combined in (True, False)
    )
    assert_slopes(agree, "combined", with_it - without, inner, start)


@pytest.mark.parametrize(
  "combined", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_second_order_without_inner_step_is_first_order(float64, combined):
  *_, gradient = maps()
  first, second = (gradient(0.0, order, combined) for order in (False, True))
  np.testing.assert_allclose(second, first, rtol=1e-11, atol=1e-13)
