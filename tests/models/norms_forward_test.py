"""What the layers of IBN-a, SNR and switchable norm compute."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules

from metabin_jax.models.norms.ibn_a import InstanceBatchNorm
from metabin_jax.models.norms.snr import StyleRestitution
from metabin_jax.models.norms.switchable import SwitchableNorm
from metabin_jax.ops import restitution

LIMIT = 1e-12


@pytest.fixture(scope="module")
def norms():
  with rules.load("norms.npz") as file:
    yield {key: file[key] for key in file.files}


def channels_last(array):
  return np.moveaxis(array, 1, -1)


def halves(golden):
  """Variables of IBN-a's layer on the first six channels."""
  return {
    "params": {
      "in_scale": golden["gamma_i"][:3],
      "in_bias": golden["beta_i"][:3],
      "bn_scale": golden["gamma_b"][3:6],
      "bn_bias": golden["beta_b"][3:6],
    },
    "batch_stats": {
      "mean": golden["run_mean"][3:6],
      "var": golden["run_var"][3:6],
    },
  }


def test_ibn_a_against_the_golden_layer(agree, float64, norms):
  x = channels_last(norms["x"])[..., :6]
  y, moved = InstanceBatchNorm().apply(
    halves(norms), x, "update", mutable=["batch_stats"]
  )
  error = rules.relative_error(y, channels_last(norms["ibn_a_train"]))
  agree("IBN-a float64", error, LIMIT)
  # The batch norm has the moments of its own channels.
  for name in ("mean", "var"):
    want = norms[f"move_{name}"][3:6]
    error = rules.relative_error(moved["batch_stats"][name], want)
    agree("IBN-a float64: running statistics", error, LIMIT)


def test_ibn_a_in_evaluation(float64, norms):
  x = channels_last(norms["x"])[..., :6]
  variables = halves(norms)
  y = InstanceBatchNorm().apply(variables, x, "eval")
  params, stats = variables["params"], variables["batch_stats"]
  want = params["bn_scale"] * (x[..., 3:] - stats["mean"])
  want = want / np.sqrt(stats["var"] + 1e-5) + params["bn_bias"]
  np.testing.assert_allclose(y[..., 3:], want, rtol=1e-11)
  held = InstanceBatchNorm().apply(variables, x, "hold")
  np.testing.assert_array_equal(y[..., :3], held[..., :3])
  assert not np.allclose(y[..., 3:], held[..., 3:])


def test_odd_channels_of_ibn_a():
  x = np.random.default_rng(0).normal(2, 3, (3, 4, 2, 5)).astype(np.float32)
  layer = InstanceBatchNorm()
  variables = layer.init(jax.random.key(0), x, "hold")
  y = np.asarray(layer.apply(variables, x, "hold"))
  np.testing.assert_allclose(y[..., :2].mean((1, 2)), 0, atol=1e-5)
  assert np.max(np.abs(y[..., 2:].mean((1, 2)))) > 0.1
  np.testing.assert_allclose(y[..., 2:].mean((0, 1, 2)), 0, atol=1e-5)


def test_switchable_kinds_and_modes(float64, norms):
  """Instance and batch, in this order; `update` alone moves."""
  x = channels_last(norms["x"])
  variables = {
    "params": {
      "scale": norms["gamma_b"],
      "bias": norms["beta_b"],
      "mean_weights": norms["sn_w_mean"][[0, 2]],
      "var_weights": norms["sn_w_var"][[0, 2]],
    },
    "batch_stats": {"mean": norms["run_mean"], "var": norms["run_var"]},
  }
  layer = SwitchableNorm()
  want = channels_last(norms["sn_bn_in_train"])
  y, moved = layer.apply(variables, x, "update", mutable=["batch_stats"])
  assert rules.relative_error(y, want) < LIMIT
  for name in ("mean", "var"):
    got = moved["batch_stats"][name]
    np.testing.assert_allclose(got, norms[f"sn_move_{name}"], rtol=1e-12)
  y, held = layer.apply(variables, x, "hold", mutable=["batch_stats"])
  assert rules.relative_error(y, want) < LIMIT
  for name, value in variables["batch_stats"].items():
    np.testing.assert_array_equal(held["batch_stats"][name], value)
  assert rules.relative_error(layer.apply(variables, x, "eval"), want) > 0.1


def test_switchable_starts_with_equal_shares():
  variables = SwitchableNorm().init(
    jax.random.key(0), jnp.ones((2, 2, 2, 3)), "update"
  )
  for name in ("mean_weights", "var_weights"):
    np.testing.assert_array_equal(variables["params"][name], [1, 1])
  np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(3))
  np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(3))


def snr_layer(golden, **options):
  variables = {
    "params": {
      "in_scale": golden["gamma"],
      "in_bias": golden["beta"],
      "squeeze_kernel": golden["w1"].T,
      "squeeze_bias": golden["b1"],
      "excite_kernel": golden["w2"].T,
      "excite_bias": golden["b2"],
    }
  }
  return StyleRestitution(**options), variables


@pytest.mark.parametrize("mode", ["update", "hold", "eval"])
def test_snr_against_the_golden_layer(agree, float64, mode):
  with rules.load("snr.npz") as golden:
    layer, variables = snr_layer(golden, loss_weight=0.25)
    x = channels_last(golden["x"])
    y, sown = layer.apply(variables, x, mode, mutable=["aux"])
    error = rules.relative_error(y, channels_last(golden["out"]))
    agree("restitution float64", error, LIMIT)
    (pooled,) = sown["aux"]["pooled"]
    assert pooled.weight == 0.25
    for got, name in zip(pooled, ("x", "out", "contaminated"), strict=False):
      want = golden[name].mean((2, 3))
      np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_snr_sows_nothing_unasked(float64):
  with rules.load("snr.npz") as golden:
    layer, variables = snr_layer(golden)
    x = channels_last(golden["x"])
    y = layer.apply(variables, x, "eval")
    assert rules.relative_error(y, channels_last(golden["out"])) < LIMIT
    with pytest.raises(ValueError, match="mode is 'train'"):
      layer.apply(variables, x, "train")


def test_snr_starts_with_a_gate_of_one_half():
  """Kernels are small, biases zero: F+ and F- begin alike."""
  x = np.random.default_rng(0).normal(1, 1, (2, 3, 3, 40)).astype(np.float32)
  layer = StyleRestitution()
  variables = layer.init(jax.random.key(0), x, "hold")
  params = variables["params"]
  assert params["squeeze_kernel"].shape == (40, 2)
  assert params["excite_kernel"].shape == (2, 40)
  for name in ("squeeze_bias", "excite_bias", "in_bias"):
    np.testing.assert_array_equal(params[name], np.zeros(params[name].shape))
  np.testing.assert_array_equal(params["in_scale"], np.ones(40))
  gate = restitution.Gate(*(params[n] for n in restitution.Gate._fields))
  maps = restitution.restitute(x, params["in_scale"], params["in_bias"], gate)
  middle = (x + np.asarray(maps.normalized)) / 2
  np.testing.assert_allclose(maps.restored, middle, atol=0.5)


def test_snr_pools_in_float32():
  x = jnp.asarray(np.random.default_rng(0).normal(1, 1, (2, 3, 3, 16)))
  layer = StyleRestitution()
  variables = layer.init(jax.random.key(0), x, "hold")
  y, sown = layer.apply(
    {"params": variables["params"]},
    x.astype(jnp.bfloat16),
    "hold",
    mutable=["aux"],
  )
  assert y.dtype == jnp.bfloat16
  (pooled,) = sown["aux"]["pooled"]
  assert {v.dtype for v in pooled[:3]} == {jnp.dtype(jnp.float32)}
