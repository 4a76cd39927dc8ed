from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import normalization
from metabin_jax.ops.moments import Moments, instance_moments

MODES = ("update", "hold", "eval")


def draw(shape=(4, 6, 3, 8), seed=0, dtype=np.float32):
  return np.random.default_rng(seed).normal(0.5, 2, shape).astype(dtype)


def affine(channels=8, seed=1):
  """bn_scale, bn_bias, in_scale, in_bias."""
  random = np.random.default_rng(seed)
  return [random.normal(1, 0.3, channels).astype(np.float32) for _ in range(4)]


def running(channels=8, seed=2):
  random = np.random.default_rng(seed)
  return Moments(
    random.normal(0, 1, channels).astype(np.float32),
    random.uniform(0.5, 2, channels).astype(np.float32),
  )


def naive_bin(x, rho, bn_scale, bn_bias, in_scale, in_bias, stats, mode):
  """The layer channel by channel and image by image, from the paper."""
  x = np.asarray(x, np.float64)
  y = np.empty_like(x)
  for c in range(x.shape[-1]):
    mean, var = x[..., c].mean(), x[..., c].var()
    if mode == "eval":
      mean, var = stats.mean[c], stats.var[c]
    for n in range(x.shape[0]):
      image = x[n, ..., c]
      batch = (image - mean) / np.sqrt(var + 1e-5)
      instance = (image - image.mean()) / np.sqrt(image.var() + 1e-5)
      batch = bn_scale[c] * batch + bn_bias[c]
      instance = in_scale[c] * instance + in_bias[c]
      y[n, ..., c] = rho[c] * batch + (1 - rho[c]) * instance
  return y


def torch_running(x, stats):
  """Running statistics after one batch, momentum 0.1, unbiased variance."""
  axes = tuple(range(x.ndim - 1))
  mean = 0.9 * stats.mean + 0.1 * x.mean(axes)
  var = 0.9 * stats.var + 0.1 * x.var(axes, ddof=1)
  return mean, var


@pytest.mark.parametrize("mode", MODES)
def test_bin_equals_a_naive_loop(mode):
  x, stats = draw(), running()
  rho = np.linspace(0, 1, 8, dtype=np.float32)
  y, moved = normalization.bin_apply(x, rho, *affine(), stats, mode=mode)
  want = naive_bin(x, rho, *affine(), stats, mode)
  np.testing.assert_allclose(y, want, rtol=2e-5, atol=2e-5)
  expected = torch_running(x, stats) if mode == "update" else stats
  np.testing.assert_allclose(moved.mean, expected[0], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(moved.var, expected[1], rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_rho_one_is_batch_norm_and_rho_zero_is_instance_norm(mode):
  x, stats = draw(), running()
  bn_scale, bn_bias, in_scale, in_bias = parameters = affine()
  batch, moved = normalization.batch_norm(
    x, bn_scale, bn_bias, stats, mode=mode
  )
  instance = normalization.instance_norm(x, in_scale, in_bias)
  for rho, want in ((1.0, batch), (0.0, instance)):
    rho = np.full(8, rho, np.float32)
    y, same = normalization.bin_apply(x, rho, *parameters, stats, mode=mode)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(same.mean, moved.mean, rtol=1e-6)
    np.testing.assert_allclose(same.var, moved.var, rtol=1e-6)


def test_shared_affine_equals_two_equal_affine_maps():
  x, stats = draw(), running()
  scale, bias, *_ = affine()
  rho = np.linspace(0, 1, 8, dtype=np.float32)
  shared, _ = normalization.bin_shared_apply(
    x, rho, scale, bias, stats, mode="hold"
  )
  both, _ = normalization.bin_apply(
    x, rho, scale, bias, scale, bias, stats, mode="hold"
  )
  np.testing.assert_allclose(shared, both, rtol=1e-5, atol=1e-5)


def test_output_is_linear_in_rho():
  x, stats, parameters = draw(), running(), affine()

  def at(value):
    rho = np.full(8, value, np.float32)
    return normalization.bin_apply(x, rho, *parameters, stats, mode="hold")[0]

  mixed = 0.3 * at(1.0) + 0.7 * at(0.0)
  np.testing.assert_allclose(at(0.3), mixed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_any_number_of_leading_batch_axes(mode):
  x, stats = draw((6, 5, 4, 8)), running()
  rho = np.linspace(0, 1, 8, dtype=np.float32)
  folded = x.reshape(2, 3, 5, 4, 8)

  def run(x):
    return normalization.bin_apply(x, rho, *affine(), stats, mode=mode)

  (flat, flat_moved), (deep, deep_moved) = run(x), run(folded)
  assert deep.shape == folded.shape
  np.testing.assert_allclose(deep.reshape(x.shape), flat, rtol=2e-5, atol=1e-5)
  np.testing.assert_allclose(deep_moved.var, flat_moved.var, rtol=1e-5)


def test_bfloat16_keeps_its_type_and_float32_moments():
  # Mean 100 times the deviation: moments in bfloat16 would be useless.
  x = jnp.asarray(100 + draw((8, 16, 8, 8)), jnp.bfloat16)
  rho = np.full(8, 0.5, np.float32)
  stats = running()
  y, moved = normalization.bin_apply(x, rho, *affine(), stats, mode="update")
  assert y.dtype == jnp.bfloat16
  assert moved.mean.dtype == moved.var.dtype == np.float32
  exact = np.asarray(x, np.float64)
  want = naive_bin(exact, rho, *affine(), stats, "update")
  # One rounding of the output to 8 bits, half a unit in the last place.
  np.testing.assert_allclose(
    np.asarray(y, np.float64), want, rtol=2.0**-8, atol=1e-4
  )
  mean, var = torch_running(exact, stats)
  np.testing.assert_allclose(moved.mean, mean, rtol=1e-6)
  np.testing.assert_allclose(moved.var, var, rtol=1e-5)


def test_float32_keeps_its_digits_under_a_large_mean():
  x = draw((8, 16, 8, 8)) + np.float32(1000)
  rho = np.full(8, 0.5, np.float32)
  parameters = affine()
  y, _ = normalization.bin_apply(x, rho, *parameters, running(), mode="hold")
  want = naive_bin(x, rho, *parameters, running(), "hold")
  worst = np.max(np.abs(y - want)) / np.max(np.abs(want))
  # The textbook E[x^2] - E[x]^2 for comparison.
  square = np.mean(np.square(x), (0, 1, 2), dtype=np.float32)
  textbook = square - np.square(np.mean(x, (0, 1, 2), dtype=np.float32))
  variance = np.var(x.astype(np.float64), (0, 1, 2))
  assert worst < 2e-4
  assert np.max(np.abs(textbook / variance - 1)) > 20 * worst


@pytest.mark.parametrize("size", [(1, 5), (5, 1), (1, 1)])
def test_thin_maps_are_finite(size):
  # The reference drops the instance term at height 1 and cannot go backward.
  x, stats = draw((4, *size, 8)), running()
  rho = np.full(8, 0.5, np.float32)
  parameters = affine()

  def loss(x, rho, parameters):
    y, moved = normalization.bin_apply(
      x, rho, *parameters, stats, mode="update"
    )
    return jnp.sum(y**3), (y, moved)

  grads, (y, moved) = jax.grad(loss, (0, 1, 2), has_aux=True)(
    x, rho, parameters
  )
  for leaf in jax.tree.leaves((grads, y, moved)):
    assert np.all(np.isfinite(leaf))
  if size == (1, 1):
    _, _, _, in_bias = parameters
    alone = normalization.instance_norm(x, parameters[2], in_bias)
    np.testing.assert_array_equal(alone, np.broadcast_to(in_bias, x.shape))


def test_single_value_per_channel_leaves_running_statistics_finite():
  x = draw((1, 1, 1, 8))
  scale, bias, *_ = affine()
  _, moved = normalization.batch_norm(x, scale, bias, running(), mode="update")
  np.testing.assert_allclose(moved.var, 0.9 * running().var, rtol=1e-6)


def test_running_statistics_carry_no_gradient():
  scale, bias, *_ = affine()

  def loss(x, stats):
    _, moved = normalization.batch_norm(x, scale, bias, stats, mode="update")
    return jnp.sum(moved.mean) + jnp.sum(moved.var)

  grad = jax.grad(loss)(draw(), running())
  np.testing.assert_array_equal(grad, np.zeros(grad.shape))


def test_evaluation_statistics_are_inputs_like_others():
  """BNTA's Eq. 14 goes down the slope of a loss by them."""
  scale, bias, *_ = affine()
  x, stats = draw(), running()

  def loss(stats):
    y, _ = normalization.batch_norm(x, scale, bias, stats, mode="eval")
    return jnp.sum(y**2)

  found = jax.grad(loss)(stats)
  inverse = 1 / np.sqrt(np.asarray(stats.var) + normalization.EPSILON)
  centered = np.asarray(x) - stats.mean
  outer = 2 * (scale * centered * inverse + bias) * scale
  axes = tuple(range(x.ndim - 1))
  np.testing.assert_allclose(
    found.mean, -np.sum(outer * inverse, axes), rtol=1e-4
  )
  np.testing.assert_allclose(
    found.var, -np.sum(outer * centered * inverse**3 / 2, axes), rtol=1e-4
  )


def test_images_do_not_influence_each_other_in_eval():
  x = draw()
  rho = np.full(8, 0.5, np.float32)

  def run(x):
    return normalization.bin_apply(x, rho, *affine(), running(), mode="eval")[0]

  np.testing.assert_array_equal(run(x)[:2], run(x[:2]))


def test_half_norm_halves():
  x = draw((4, 6, 3, 7))
  stats = running(4)
  bn = [np.ones(4, np.float32), np.zeros(4, np.float32)]
  instance = [np.ones(3, np.float32), np.zeros(3, np.float32)]
  y, _ = normalization.bin_half_apply(x, *bn, *instance, stats, mode="hold")
  batch, _ = normalization.batch_norm(x[..., :4], *bn, stats, mode="hold")
  rest = normalization.instance_norm(x[..., 4:], *instance)
  np.testing.assert_array_equal(y[..., :4], batch)
  np.testing.assert_array_equal(y[..., 4:], rest)


def test_unknown_mode():
  scale, bias, *_ = affine()
  with pytest.raises(ValueError, match="mode is 'train', want one of"):
    normalization.batch_norm(draw(), scale, bias, running(), mode="train")


@pytest.mark.parametrize(
  "name", ["rho", "bn_scale", "bn_bias", "in_scale", "in_bias"]
)
def test_wrong_channel_count_is_named(name):
  names = ("bn_scale", "bn_bias", "in_scale", "in_bias")
  parameters = dict(zip(names, affine(), strict=True))
  parameters["rho"] = np.ones(8, np.float32)
  parameters[name] = np.ones(7, np.float32)
  with pytest.raises(ValueError, match=rf"{name} has shape \(7,\)"):
    normalization.bin_apply(
      draw(), running=running(), mode="hold", **parameters
    )


def test_wrong_halves():
  ones = np.ones(3, np.float32)
  wide = np.ones(5, np.float32)
  with pytest.raises(ValueError, match="larger half"):
    normalization.bin_half_apply(
      draw(), ones, ones, wide, wide, running(3), mode="hold"
    )


def test_images_need_three_axes():
  with pytest.raises(ValueError, match=r"want \[..., H, W, C\]"):
    instance_moments(jnp.zeros((4, 8)))
