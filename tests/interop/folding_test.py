"""Programs with everything known computed: what is left, and the numbers."""

from __future__ import annotations

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_networks

from metabin_jax.evaluation import extract

NORM_LAYERS, BLOCKS = 20, 8  # of ResNet-18, beside the neck


def kinds(folded) -> collections.Counter:
  return collections.Counter(e.primitive.name for e in folded.jaxpr.eqns)


def random(*shape):
  return np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32)


def check(function, shape, **left):
  """Folds, compares, and says which operations are left."""
  folded = small_networks.fold_function(function, shape)
  x = random(3, *shape)
  np.testing.assert_allclose(
    small_networks.run(folded, x), function(x), rtol=2e-6, atol=1e-6
  )
  assert kinds(folded) == left


def test_chains_of_known_numbers_become_a_product_and_a_sum():
  mean, gain, bias = (random(1, 1, 1, 4) for _ in range(3))
  check(lambda x: (x - mean) * gain + bias, (2, 3, 4), mul=1, add=1)
  check(lambda x: -(3 - (x - mean) / gain) * 2, (2, 3, 4), mul=1, add=1)
  check(lambda x: (x * gain) / gain * 0.5, (2, 3, 4), mul=1)
  check(lambda x: 5 - x, (4,), mul=1, add=1)
  check(lambda x: 5 / x, (4,), div=1)


@pytest.mark.filterwarnings("ignore:.*encountered in")
@pytest.mark.parametrize(
  "function",
  [
    lambda x: (x - x) ** 0,
    lambda x: (x - x) ** -1,
    lambda x: (x - x) * jnp.inf,
    lambda x: x / 0.0,
    lambda x: x * jnp.inf,
    lambda x: (x * 1e25) * 1e25,
    lambda x: (x * 1e-25) * 1e-25 * 1e25,
    lambda x: (x + 3e38) + 3e38 - 3e38,
  ],
)
def test_what_is_beyond_the_type_is_left(function):
  folded = small_networks.fold_function(function, (4,))
  x = np.array([[1e-20, 1, 1e20, 0]], np.float32)
  # XLA, too, puts factors together.
  np.testing.assert_allclose(
    small_networks.run(folded, x), jax.jit(function)(x), rtol=1e-6
  )


def test_the_two_numbers_are_computed_in_float64():
  # In float32 1e8 + 1 - 1e8 is 0.
  folded = small_networks.fold_function(lambda x: x + 1e8 + 1 - 1e8, (2,))
  x = random(3, 2)
  np.testing.assert_array_equal(
    small_networks.run(folded, x), x + np.float32(1)
  )


def test_an_array_that_two_need_is_computed_once():
  def function(x):
    y = x * 2 + 1
    return jnp.sin(y) + jnp.cos(y)

  check(function, (4,), mul=1, add=2, sin=1, cos=1)


def test_what_is_known_is_computed():
  kernel = jnp.asarray(random(4, 5))
  check(
    lambda x: jnp.dot(x, jnp.exp(kernel).T[:, :4].T.sum(1)),
    (4,),
    dot_general=1,
  )


def test_a_known_array_that_is_larger_than_x_is_no_factor():
  check(lambda x: x[:, :1] * random(1, 3), (2,), slice=1, mul=1)


def test_differences_with_itself_are_zero():
  def function(x):
    mean = jnp.mean(x, 1, keepdims=True)
    same = jax.lax.stop_gradient(jax.lax.optimization_barrier(mean))
    zero = jnp.square(mean - same) * mean
    return x - mean + zero

  check(function, (4,), reduce_sum=1, broadcast_in_dim=1, mul=1, sub=1)


def test_zeros_that_are_needed_are_there():
  check(lambda x: jnp.cos(x - x), (4,), broadcast_in_dim=1, cos=1)


def test_calls_are_written_out():
  @jax.jit
  def inner(x):
    return jax.checkpoint(lambda y: jax.nn.relu(jnp.sin(y)))(x)

  check(inner, (4,), sin=1, max=1)


def test_what_no_output_needs_is_left_out():
  @jax.jit
  def both(x):
    return jnp.sin(x), jnp.cos(x) @ np.ones((4, 4), np.float32)

  check(lambda x: both(x)[0], (4,), sin=1)


def test_known_parts_are_slices():
  check(lambda x: x[:, 1:3], (4, 2), slice=1)
  check(lambda x: x[:, 2, 0], (4, 2), slice=1, squeeze=1)
  check(lambda x: x[..., :], (4, 2))
  # Beyond the end a gather repeats the last one, as a slice cannot.
  beyond = kinds(
    small_networks.fold_function(
      lambda x: jnp.take(x, np.int32(7), axis=1, mode="clip"), (4,)
    )
  )
  assert beyond["gather"] + beyond["slice"] == 1


def test_a_loop_stays_a_loop():
  def function(x):
    return jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y), x)

  check(function, (4,), scan=1)


def test_batch_norm_leaves_a_product_and_a_sum():
  folded = small_networks.fold("resnet18", "bn")
  left = kinds(folded)
  for gone in ("sub", "rsqrt", "gather", "dot_general", "jit", "div"):
    assert left[gone] == 0, gone
  # Norm layers, neck, pixels; the mean over the last map, the residual sums.
  assert left["mul"] == NORM_LAYERS + 2 + 1
  assert left["add"] == NORM_LAYERS + 2 + BLOCKS
  assert left["conv_general_dilated"] == NORM_LAYERS


def test_batch_instance_norm_keeps_the_moments_of_the_image():
  left = kinds(small_networks.fold("resnet18", "bin"))
  assert left["rsqrt"] == NORM_LAYERS
  # The mean is taken from x for the variance, and once more to normalize.
  assert left["sub"] == 2 * NORM_LAYERS
  assert left["square"] == NORM_LAYERS
  assert left["optimization_barrier"] == left["remat2"] == 0


@pytest.mark.parametrize(
  ("backbone", "norm", "flip"),
  [
    ("resnet18", "bn", True),
    ("resnet18", "bin", False),
    pytest.param("mobilenetv2", "bn", False, marks=pytest.mark.slow),
  ],
)
def test_the_network_gives_the_same(backbone, norm, flip):
  network, variables = small_networks.create(backbone, norm)
  images = small_networks.images(4)
  folded = small_networks.fold(backbone, norm, flip)
  want = extract.make_embedder(network, variables, 4, flip=flip)(images)
  got = small_networks.run(folded, images)
  assert got.dtype == want.dtype
  assert np.max(np.abs(want)) > 0.01
  np.testing.assert_allclose(
    got, want, rtol=0, atol=2e-5 * np.max(np.abs(want))
  )
