"""Centered forms: the plain formulas in value and derivatives, but cheaper."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import centered

SHAPE = (3, 5, 4, 6)


def mean(x):
  return jnp.mean(x, axis=(-3, -2), keepdims=True)


def plain_variance(x, mean):
  return jnp.mean(jnp.square(x - mean), axis=(-3, -2), keepdims=True)


def plain_affine(x, center, gain, bias):
  return (x - center) * gain + bias


def normalize(variance, affine):
  """Instance norm to a power, so that no derivative vanishes."""

  def run(x, scale, bias):
    center = mean(x)
    gain = scale / jnp.sqrt(variance(x, center) + 0.1)
    # A center that is not the mean of x alone.
    return jnp.sum(affine(x, center * bias, gain, bias) ** 3)

  return run


def draw(seed=0, dtype=np.float64):
  random = np.random.default_rng(seed)
  shapes = (SHAPE, (SHAPE[0], 1, 1, SHAPE[-1]), SHAPE[-1:])
  return tuple(
    jnp.asarray(random.normal(0.5, 1, s), dtype).reshape(
      (1,) * (len(SHAPE) - len(s)) + s
    )
    for s in shapes
  )


def derivatives(function):
  """Value, gradient and second derivatives along a direction, both ways."""
  arguments = (0, 1, 2)
  gradient = jax.grad(function, arguments)
  point, along = draw(), draw(seed=1)

  def slope(*point):
    parts = jax.tree.map(lambda g, a: jnp.sum(g * a), gradient(*point), along)
    return sum(parts)

  return {
    "value": function(*point),
    "gradient": gradient(*point),
    "forward over reverse": jax.jvp(gradient, point, along)[1],
    "reverse over reverse": jax.grad(slope, arguments)(*point),
  }


@pytest.mark.usefixtures("float64")
def test_derivatives_are_those_of_the_plain_formulas():
  got = derivatives(normalize(centered.variance, centered.affine))
  want = derivatives(normalize(plain_variance, plain_affine))
  for name in want:
    for one, other in zip(
      jax.tree.leaves(got[name]), jax.tree.leaves(want[name]), strict=True
    ):
      np.testing.assert_allclose(
        one, other, rtol=1e-10, atol=1e-10 * np.abs(other).max(), err_msg=name
      )


def test_affine_takes_vectors_and_keeps_the_type():
  x, _, vector = draw(dtype=np.float32)
  flat = vector.reshape(-1)
  y = centered.affine(x.astype(jnp.bfloat16), flat, flat, flat)
  assert y.dtype == jnp.bfloat16
  assert y.shape == x.shape
  assert centered.affine(x, vector, vector, flat).dtype == jnp.float32


def sums_over_maps(jaxpr):
  """How many sums over all pixels a program has."""
  found = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == "reduce_sum":
      whole = equation.invars[0].aval.shape == SHAPE
      found += whole and {1, 2} <= set(equation.params["axes"])
    for value in equation.params.values():
      inner = getattr(value, "jaxpr", value)
      found += sums_over_maps(inner) if hasattr(inner, "eqns") else 0
  return found


@pytest.mark.parametrize(
  ("variance", "affine", "sums"),
  [
    # Forward the mean, the variance and the loss; backward gain and bias.
    (centered.variance, centered.affine, 5),
    # And those of x - mean and of the center.
    (plain_variance, centered.affine, 6),
    (centered.variance, plain_affine, 6),
  ],
)
def test_the_backward_pass_sums_over_maps_twice(variance, affine, sums):
  gradient = jax.grad(normalize(variance, affine), (0, 1, 2))
  program = jax.make_jaxpr(gradient)(*draw(dtype=np.float32))
  assert sums_over_maps(program.jaxpr) == sums
