from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import normalization, switchable
from metabin_jax.ops.normalization import Moments

BOTH = ("in", "bn")


def draw(dtype=np.float64):
  random = np.random.default_rng(0)
  x = random.normal(2, 3, (4, 3, 2, 5))
  scale, bias, mean, var = random.uniform(0.5, 2, (4, 5))
  return jax.tree.map(
    lambda v: np.asarray(v, dtype),
    (x, scale, bias, np.array([0.3, -0.6]), np.array([-0.2, 0.9]), mean, var),
  )


def apply(mode="hold", kinds=BOTH, dtype=np.float64, **changes):
  names = ("x", "scale", "bias", "mean_weights", "var_weights", "mean", "var")
  values = dict(zip(names, draw(dtype), strict=True)) | changes
  running = Moments(values.pop("mean"), values.pop("var"))
  return switchable.switchable_norm(
    *values.values(), running, kinds=kinds, mode=mode
  )


def naive(mode):
  """One loop over images and channels, for both kinds."""
  x, scale, bias, mean_weights, var_weights, mean, var = draw()
  mean_share, var_share = (
    np.exp(v) / np.exp(v).sum() for v in (mean_weights, var_weights)
  )
  y = np.empty_like(x)
  for c in range(x.shape[-1]):
    means = [np.mean(x[n, :, :, c]) for n in range(len(x))]
    variances = [np.var(x[n, :, :, c], ddof=1) for n in range(len(x))]
    squares = [v + m**2 for m, v in zip(means, variances, strict=True)]
    batch_mean = np.mean(means)
    batch_var = np.mean(squares) - batch_mean**2
    if mode == "eval":
      batch_mean, batch_var = mean[c], var[c]
    for n in range(len(x)):
      m = mean_share[0] * means[n] + mean_share[1] * batch_mean
      v = var_share[0] * variances[n] + var_share[1] * batch_var
      y[n, :, :, c] = scale[c] * (x[n, :, :, c] - m) / np.sqrt(v + 1e-5)
      y[n, :, :, c] += bias[c]
  return y


@pytest.mark.parametrize("mode", ["update", "hold", "eval"])
def test_equals_loops(float64, mode):
  y, _ = apply(mode)
  np.testing.assert_allclose(y, naive(mode), rtol=1e-11, atol=1e-12)


def test_running_moments_move_in_update_alone(float64):
  *_, mean, var = draw()
  for mode in ("hold", "eval"):
    _, after = apply(mode)
    np.testing.assert_array_equal(after.mean, mean)
    np.testing.assert_array_equal(after.var, var)
  x = draw()[0]
  _, after = apply("update")
  np.testing.assert_allclose(
    after.mean, 0.9 * mean + 0.1 * x.mean((0, 1, 2)), rtol=1e-12
  )
  means = x.mean((1, 2))
  batch_var = x.var((1, 2), ddof=1).mean(0) + means.var(0)
  np.testing.assert_allclose(after.var, 0.9 * var + 0.1 * batch_var, rtol=1e-12)


def test_no_gradient_through_running_moments(float64):
  def total(mean, mode):
    y, after = apply(mode, mean=mean)
    return jnp.sum(y**3), jnp.sum(after.mean)

  for mode in ("update", "hold"):
    grads = jax.grad(lambda m, mode=mode: total(m, mode)[0])(draw()[-2])
    np.testing.assert_array_equal(grads, np.zeros(5))
  # In evaluation they are inputs like others (BNTA's Eq. 14).
  assert np.all(jax.grad(lambda m: total(m, "eval")[0])(draw()[-2]) != 0)

  def moved(x):
    _, after = apply("update", x=x)
    return jnp.sum(after.mean) + jnp.sum(after.var)

  assert not np.any(jax.grad(moved)(draw()[0]))


def test_all_weight_on_batch_norm(float64):
  far = np.array([-800.0, 800.0])
  x, scale, bias, *_, mean, var = draw()
  for mode in ("hold", "eval"):
    y, _ = apply(mode, mean_weights=far, var_weights=far)
    want, _ = normalization.batch_norm(
      x, scale, bias, Moments(mean, var), mode=mode
    )
    # The two differ in the correction of the variance, in training only.
    tolerance = 1e-12 if mode == "eval" else 0.1
    np.testing.assert_allclose(
      np.asarray(y) - bias, np.asarray(want) - bias, rtol=tolerance
    )


def test_weights_have_gradients(float64):
  _, _, _, mean_weights, var_weights, *_ = draw()

  def loss(mean_weights, var_weights):
    y, _ = apply(mean_weights=mean_weights, var_weights=var_weights)
    return jnp.mean(jnp.sin(y))

  grads = jax.grad(loss, (0, 1))(mean_weights, var_weights)
  for i, grad in enumerate(grads):
    # Shares sum to one: a common shift of the logits changes nothing.
    np.testing.assert_allclose(np.sum(grad), 0, atol=1e-12)
    step = np.array([1e-5, 0.0])
    ends = []
    for sign in (1, -1):
      weights = [mean_weights, var_weights]
      weights[i] = weights[i] + sign * step
      ends.append(float(loss(*weights)))
    np.testing.assert_allclose(grad[0], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_large_means_cost_no_digits():
  *_, mean, var = draw(np.float32)
  x = draw(np.float32)[0]
  far = np.float32(1024.0)
  # Exact in float32: x keeps 13 binary digits below the shift.
  x = np.round(x * 256) / 256
  near, _ = apply(dtype=np.float32, x=x, mean=mean, var=var)
  shifted, _ = apply(dtype=np.float32, x=x + far)
  np.testing.assert_allclose(shifted, near, rtol=1e-3, atol=1e-3)


def test_maps_of_one_pixel(float64):
  x = draw()[0][:, :1, :1]
  y, after = apply("update", x=x)
  assert np.all(np.isfinite(y))
  assert np.all(np.isfinite(after.var))


def test_dtype_of_x_is_kept():
  x = jnp.asarray(draw(np.float32)[0], jnp.bfloat16)
  y, after = apply("update", dtype=np.float32, x=x)
  assert y.dtype == jnp.bfloat16
  assert after.mean.dtype == after.var.dtype == jnp.float32


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"mode": "train"}, "mode is 'train'"),
    ({"kinds": ("in", "gn")}, r"kinds are \('in', 'gn'\), want some of"),
    ({"kinds": ("in", "in")}, "kinds are"),
    ({"kinds": ()}, "kinds are"),
    ({"kinds": ("bn",)}, r"mean_weights has shape \(2,\), want \(1,\)"),
    ({"var_weights": np.ones(3)}, r"var_weights has shape \(3,\)"),
    ({"scale": np.ones(4)}, r"scale has shape \(4,\), want \(5,\)"),
    ({"bias": np.ones(1)}, r"bias has shape \(1,\), want \(5,\)"),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(ValueError, match=message):
    apply(dtype=np.float32, **options)
