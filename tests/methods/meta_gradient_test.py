from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from golden import rules
from jax.flatten_util import ravel_pytree

from metabin_jax.methods import meta_gradient

ORDERS = ("first", "reverse", "forward")


def adapt(rho, gradient, beta=1.0, second_order=False):
  return meta_gradient.adapt(
    rho, gradient, jnp.asarray(beta), second_order=second_order
  )


def test_adapt_clips_values_but_not_derivatives():
  rho = jnp.array([1.0, 0.0, 0.5, 0.9])
  gradient = jnp.array([-1.0, 2.0, 0.2, -0.05])
  moved, tangent = jax.jvp(
    lambda rho: adapt(rho, gradient), (rho,), (jnp.ones(4),)
  )
  np.testing.assert_allclose(moved, [1, 0, 0.3, 0.95], rtol=1e-6)
  np.testing.assert_array_equal(tangent, np.ones(4))


def test_adapt_stops_the_inner_gradient_in_first_order():
  def slope(second_order):
    # The inner gradient of rho ** 3 is 3 rho ** 2, its derivative 6 rho.
    return jax.grad(
      lambda rho: adapt(rho, 3 * rho**2, 0.1, second_order=second_order)
    )(jnp.asarray(0.5))

  assert float(slope(False)) == pytest.approx(1)
  assert float(slope(True)) == pytest.approx(1 - 0.1 * 3)


def test_adapt_keeps_the_type_of_rho():
  moved = adapt(jnp.ones(3, jnp.bfloat16), jnp.ones(3, jnp.float32), 0.5)
  assert moved.dtype == jnp.bfloat16


@pytest.mark.parametrize("order", ORDERS)
def test_quadratic_losses_by_hand(order):
  # Inner a rho^2 / 2, outer (rho' - c)^2 / 2: rho' = (1 - beta a) rho.
  a, c, beta, rho = 2.0, 0.1, 0.25, 0.6
  gradient, details = meta_gradient.meta_gradient(
    lambda r: (a * r**2 / 2, ()),
    lambda r: ((r - c) ** 2 / 2, ()),
    jnp.asarray(rho),
    jnp.asarray(beta),
    order=order,
  )
  moved = (1 - beta * a) * rho
  factor = 1 if order == "first" else 1 - beta * a
  assert float(details["moved"]) == pytest.approx(moved)
  assert float(details["inner_gradient"]) == pytest.approx(a * rho)
  assert float(gradient) == pytest.approx(factor * (moved - c))


def test_unknown_order():
  with pytest.raises(ValueError, match="order is 'second', want one of"):
    meta_gradient.meta_gradient(
      lambda r: (r, ()),
      lambda r: (r, ()),
      jnp.asarray(0.5),
      jnp.asarray(0.1),
      order="second",
    )


def losses_of(network, variables):
  def on(batch, objective):
    def loss(balance):
      outputs = network.apply(
        {**variables, "balance": balance}, batch.image, mode="hold"
      )
      return objective(outputs, batch)

    return loss

  return (
    on(tiny.batch(1, (0, 2)), tiny.MTRAIN),
    on(tiny.batch(2, (1,)), tiny.MTEST),
  )


@functools.cache
def network_functions():
  """Float64: (start, {order: (rho, beta) -> gradient}, rho -> outer loss)."""
  variables = tiny.variables(dtype=jnp.float64)
  inner, outer = losses_of(tiny.network(dtype=jnp.float64), variables)
  start, unravel = ravel_pytree(variables["balance"])

  def gradient(rho, beta, order):
    got, _ = meta_gradient.meta_gradient(
      inner, outer, unravel(rho), beta, order=order
    )
    return ravel_pytree(got)[0]

  def bilevel(rho, beta):
    # Written out, without `adapt`: these rho stay inside (0, 1).
    slope = jax.grad(lambda r: inner(unravel(r))[0])(rho)
    moved = rho - beta * slope
    return outer(unravel(moved))[0], moved

  return start, jax.jit(gradient, static_argnums=2), jax.jit(bilevel)


def test_reverse_and_forward_agree(agree, float64):
  start, gradient, _ = network_functions()
  for beta in (0.1, 0.5, 2.0):
    reverse = gradient(start, jnp.asarray(beta), "reverse")
    forward = gradient(start, jnp.asarray(beta), "forward")
    error = rules.relative_error(forward, reverse)
    agree("second order: forward against reverse", error, 1e-10)


def test_second_order_without_inner_step_is_first_order(float64):
  start, gradient, _ = network_functions()
  first = gradient(start, jnp.asarray(0.0), "first")
  for order in ("reverse", "forward"):
    second = gradient(start, jnp.asarray(0.0), order)
    np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-14)


def test_finite_differences_of_the_whole_map(agree, float64):
  start, gradient, bilevel = network_functions()
  beta, step = jnp.asarray(0.5), 1e-5
  _, moved = bilevel(start, beta)
  assert np.all((moved > 0) & (moved < 1)), "the clamp would be active"
  first = gradient(start, beta, "first")
  second = gradient(start, beta, "reverse")
  # Orders must be told apart by much more than the differences' own error.
  assert rules.relative_error(first, second) > 1e-2
  random = np.random.default_rng(0)
  wrong = 0.0
  for _ in range(4):
    direction = random.standard_normal(start.size)
    ahead, _ = bilevel(start + step * direction, beta)
    behind, _ = bilevel(start - step * direction, beta)
    slope = float(ahead - behind) / (2 * step)
    scale = float(np.linalg.norm(second) * np.linalg.norm(direction))
    error = abs(float(second @ direction) - slope) / scale
    agree("second order: finite differences", error, 1e-7)
    wrong = max(wrong, abs(float(first @ direction) - slope) / scale)
  assert wrong > 1e-3


def test_first_order_is_the_slope_at_the_moved_rho(agree, float64):
  start, gradient, bilevel = network_functions()
  beta, still, step = jnp.asarray(0.5), jnp.asarray(0.0), 1e-5
  _, moved = bilevel(start, beta)
  first = gradient(start, beta, "first")
  # Where the slope is taken must matter by much more than the error.
  assert rules.relative_error(gradient(start, still, "first"), first) > 1e-2
  random = np.random.default_rng(1)
  for _ in range(3):
    direction = random.standard_normal(start.size)
    # Without an inner step the whole map is the meta-test loss.
    ahead, _ = bilevel(moved + step * direction, still)
    behind, _ = bilevel(moved - step * direction, still)
    slope = float(ahead - behind) / (2 * step)
    scale = float(np.linalg.norm(first) * np.linalg.norm(direction))
    error = abs(float(first @ direction) - slope) / scale
    agree("first order: finite differences", error, 1e-7)


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_second_order_goes_straight_through_the_clamp(float64, order):
  random = np.random.default_rng(0)
  mix = jnp.asarray(random.standard_normal((6, 6)))
  pull = jnp.array([-3.0, 2.0, -4.0, 9.0, 1.0, 12.0])
  aim = jnp.asarray(random.uniform(0.2, 0.8, 6))

  def inner(rho):
    return jnp.sum(jnp.tanh(mix @ rho) ** 2) + pull @ rho

  def outer(rho):
    return jnp.sum(jnp.exp(rho - aim)) + jnp.prod(1 + rho)

  rho, beta = jnp.ones(6), jnp.asarray(0.2)
  step = rho - beta * jax.grad(inner)(rho)
  inside = (step >= 0) & (step <= 1)
  assert (step > 1).any()
  assert (step < 0).any()
  assert inside.any()
  slope = jax.grad(outer)(jnp.clip(step, 0, 1))
  through = jnp.eye(6) - beta * jax.hessian(inner)(rho)
  got, details = meta_gradient.meta_gradient(
    lambda r: (inner(r), ()), lambda r: (outer(r), ()), rho, beta, order=order
  )
  np.testing.assert_array_equal(details["moved"], jnp.clip(step, 0, 1))
  np.testing.assert_allclose(got, through @ slope, rtol=1e-12, atol=1e-12)
  # A clamp that stops derivatives, or no second order, is far from this.
  assert rules.relative_error(through @ (slope * inside), got) > 0.1
  assert rules.relative_error(slope, got) > 0.1
