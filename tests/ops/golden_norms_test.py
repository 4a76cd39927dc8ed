"""Norm layers of other systems against independent float64 arrays.

Evaluation is by the statistics that the training batch has moved.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules

from metabin_jax.ops import normalization, restitution, switchable
from metabin_jax.ops.normalization import Moments

LIMIT = 1e-12
FLOAT32_LIMIT = 2e-6


@pytest.fixture(scope="module")
def norms():
  with rules.load("norms.npz") as file:
    yield {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def snr():
  with rules.load("snr.npz") as file:
    yield {key: file[key] for key in file.files}


def channels_last(array):
  return np.moveaxis(array, 1, -1)


def moved(golden, prefix=""):
  return Moments(golden[f"{prefix}move_mean"], golden[f"{prefix}move_var"])


def apply_switchable(golden, kinds, mode, running, dtype=jnp.float64):
  chosen = [("in", "ln", "bn").index(kind) for kind in kinds]
  x, scale, bias, mean_weights, var_weights, running = jax.tree.map(
    lambda v: jnp.asarray(v, dtype),
    (
      channels_last(golden["x"]),
      golden["gamma_b"],
      golden["beta_b"],
      golden["sn_w_mean"][chosen],
      golden["sn_w_var"][chosen],
      running,
    ),
  )
  return switchable.switchable_norm(
    x, scale, bias, mean_weights, var_weights, running, kinds=kinds, mode=mode
  )


def start(golden):
  return Moments(golden["run_mean"], golden["run_var"])


@pytest.mark.parametrize("mode", ["update", "hold"])
@pytest.mark.parametrize(
  ("kinds", "name"),
  [(("in", "ln", "bn"), "sn_train"), (("in", "bn"), "sn_bn_in_train")],
)
def test_switchable_in_training(agree, float64, norms, kinds, name, mode):
  y, after = apply_switchable(norms, kinds, mode, start(norms))
  error = rules.relative_error(y, channels_last(norms[name]))
  agree("switchable float64", error, LIMIT)
  want = moved(norms, "sn_") if mode == "update" else start(norms)
  for got, value in zip(after, want, strict=True):
    error = rules.relative_error(got, value)
    agree("switchable float64: running statistics", error, LIMIT)


def test_switchable_in_evaluation(agree, float64, norms):
  running = moved(norms, "sn_")
  y, after = apply_switchable(norms, switchable.KINDS, "eval", running)
  error = rules.relative_error(y, channels_last(norms["sn_eval"]))
  agree("switchable float64", error, LIMIT)
  np.testing.assert_array_equal(after, running)


def test_switchable_in_float32(agree, norms):
  y, _ = apply_switchable(
    norms, switchable.KINDS, "hold", start(norms), jnp.float32
  )
  assert y.dtype == jnp.float32
  error = rules.relative_error(y, channels_last(norms["sn_train"]))
  agree("switchable float32", error, FLOAT32_LIMIT)


def test_batch_instance_layers(agree, float64, norms):
  x = channels_last(norms["x"])
  bn = (norms["gamma_b"], norms["beta_b"])
  instance = (norms["gamma_i"], norms["beta_i"])
  rho = norms["rho"]
  layers = {
    "bin": lambda running, mode: normalization.bin_shared_apply(
      x, rho, *bn, running, mode=mode
    ),
    "metabin": lambda running, mode: normalization.bin_apply(
      x, rho, *bn, *instance, running, mode=mode
    ),
  }
  for name, layer in layers.items():
    y, after = layer(start(norms), "update")
    outputs = {"train": y, "eval": layer(moved(norms), "eval")[0]}
    for when, got in outputs.items():
      want = channels_last(norms[f"{name}_{when}"])
      agree("other layers float64", rules.relative_error(got, want), LIMIT)
    for got, want in zip(after, moved(norms), strict=True):
      agree("other layers float64", rules.relative_error(got, want), LIMIT)


def test_instance_norm_and_halves(agree, float64, norms):
  x = channels_last(norms["x"])
  instance = (norms["gamma_i"], norms["beta_i"])
  y = normalization.instance_norm(x, *instance)
  want = channels_last(norms["in_out"])
  agree("other layers float64", rules.relative_error(y, want), LIMIT)
  y, _ = normalization.bin_half_apply(
    x,
    norms["gamma_b"][:4],
    norms["beta_b"][:4],
    *(v[4:] for v in instance),
    Moments(*(v[:4] for v in start(norms))),
    mode="hold",
  )
  want = channels_last(norms["half_train"])
  agree("other layers float64", rules.relative_error(y, want), LIMIT)


def apply_snr(golden, dtype):
  x = jnp.asarray(channels_last(golden["x"]), dtype)
  scale, bias, *gate = (
    jnp.asarray(v, dtype)
    for v in (
      golden["gamma"],
      golden["beta"],
      golden["w1"].T,
      golden["b1"],
      golden["w2"].T,
      golden["b2"],
    )
  )
  return restitution.restitute(x, scale, bias, restitution.Gate(*gate))


SNR_ARRAYS = ("out", "normalised", "contaminated")


def test_restitution(agree, float64, snr):
  for name, got in zip(SNR_ARRAYS, apply_snr(snr, jnp.float64), strict=True):
    error = rules.relative_error(got, channels_last(snr[name]))
    agree("restitution float64", error, LIMIT)


def test_restitution_in_float32(agree, snr):
  for name, got in zip(SNR_ARRAYS, apply_snr(snr, jnp.float32), strict=True):
    assert got.dtype == jnp.float32
    error = rules.relative_error(got, channels_last(snr[name]))
    agree("restitution float32", error, FLOAT32_LIMIT)
