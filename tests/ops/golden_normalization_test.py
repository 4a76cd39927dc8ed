"""Normalization layers against the reference's, in float64 and float32.

A float32 limit is `FLOAT32` times the reference's own float32 error on the
same array, plus a few roundings of the largest value.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules

from metabin_jax.methods import meta_gradient
from metabin_jax.ops import moments, normalization

FLOAT64_LIMIT = 1e-11
FLOAT32 = 4
ROUNDINGS = 8 * 2.0**-24
MODES = {"general": "update", "hold": "hold", "eval": "eval"}
# Reference names of the parameters, in the order our functions take them.
HALVES = ("bat_n.weight", "bat_n.bias", "ins_n.weight", "ins_n.bias")
PARAMETERS = {
  "BN": ("weight", "bias"),
  "IN": ("weight", "bias"),
  "BIN_half": HALVES,
  "BIN_half_odd": HALVES,
  "BIN_gate1": ("gate", "weight", "bias"),
  "BIN_gate2": ("gate", *HALVES),
}
FUNCTIONS = {
  "BN": normalization.batch_norm,
  "BIN_half": normalization.bin_half_apply,
  "BIN_half_odd": normalization.bin_half_apply,
  "BIN_gate1": normalization.bin_shared_apply,
  "BIN_gate2": normalization.bin_apply,
}


def channels_last(array):
  """[B, C, H, W] to [B, H, W, C]."""
  return np.moveaxis(array, 1, -1)


def buffers(norm, golden):
  """Initial running statistics, and the prefix of their golden names."""
  prefix = "bat_n." if norm.startswith(("BIN_half", "BIN_gate2")) else ""
  weight = golden[f"param/{norm}/{prefix or ''}weight"]
  names = [f"{prefix}running_{what}" for what in ("mean", "var")]
  values = [rules.value(f"a.{norm}.{name}", weight.shape) for name in names]
  return moments.Moments(*values), names


def layer(norm, mode):
  """(x, parameters, running) -> (y, running)."""
  if norm == "IN":
    return lambda x, p, running: (normalization.instance_norm(x, *p), running)
  function = FUNCTIONS[norm]
  return lambda x, p, running: function(x, *p, running, mode=mode)


def results(norm, mode, dtype, golden):
  """Our arrays by golden name."""
  suffix = "7" if norm == "BIN_half_odd" else ""
  x = channels_last(golden[f"x{suffix}"])
  cotangent = channels_last(golden[f"cotangent{suffix}"])
  parameters = [golden[f"param/{norm}/{name}"] for name in PARAMETERS[norm]]
  running, names = buffers(norm, golden) if norm != "IN" else ((), [])
  x, cotangent, parameters, running = jax.tree.map(
    lambda v: jnp.asarray(v, dtype), (x, cotangent, parameters, running)
  )

  def loss(x, parameters):
    y, moved = layer(norm, mode)(x, parameters, running)
    return jnp.sum(y * cotangent), (y, moved)

  (_, (y, moved)), (grad_x, grads) = jax.jit(
    jax.value_and_grad(loss, (0, 1), has_aux=True)
  )(x, parameters)
  out = {"y": np.moveaxis(y, -1, 1), "grad_x": np.moveaxis(grad_x, -1, 1)}
  for name, grad in zip(PARAMETERS[norm], grads, strict=True):
    out[f"grad_{name}"] = grad
  for name, value in zip(names, moved, strict=True):
    out[f"after_{name}"] = value
  return out


def kind(name):
  if name.startswith("after"):
    return "running statistics"
  return "outputs" if name == "y" else "gradients"


@pytest.fixture(scope="module")
def golden():
  with rules.load("a_norm_layers.npz") as file:
    yield {key: file[key] for key in file.files}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("norm", PARAMETERS)
def test_float64(agree, golden, float64, norm, mode):
  got = results(norm, MODES[mode], jnp.float64, golden)
  prefix = f"f64/{norm}/{mode}/"
  assert {prefix + name for name in got} == {
    key for key in golden if key.startswith(prefix)
  }
  for name, value in got.items():
    assert value.dtype == np.float64
    error = rules.relative_error(value, golden[prefix + name])
    agree(f"norm layers float64: {kind(name)}", error, FLOAT64_LIMIT)


@pytest.mark.parametrize("norm", PARAMETERS)
def test_float32(agree, golden, norm):
  for mode in ("general", "eval"):
    got = results(norm, MODES[mode], jnp.float32, golden)
    for name, value in got.items():
      assert value.dtype == np.float32
      want = golden[f"f64/{norm}/{mode}/{name}"]
      gap = golden[f"gap/{norm}/{mode}/{name}"] / np.max(np.abs(want))
      error = rules.relative_error(value, want)
      limit = FLOAT32 * gap + ROUNDINGS
      agree(f"norm layers float32: {kind(name)}", error, limit)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("norm", ["BIN_gate1", "BIN_gate2"])
def test_inner_step(agree, golden, float64, norm, order):
  x, x_mtest, cotangent = (
    jnp.asarray(channels_last(golden[name]))
    for name in ("x", "x_mtest", "cotangent")
  )
  names = PARAMETERS[norm][1:]
  parameters = [jnp.asarray(golden[f"param/{norm}/{n}"]) for n in names]
  running, _ = buffers(norm, golden)

  def apply(x, rho):
    return layer(norm, "hold")(x, [rho, *parameters], running)[0]

  def inner_loss(rho):
    return 2.5 * jnp.mean(jnp.square(apply(x, rho) - cotangent)), ()

  def outer_loss(rho):
    y = apply(x_mtest, rho)
    return jnp.mean(jnp.square(y + 0.3)), y

  def run(rho, order):
    return meta_gradient.meta_gradient(
      inner_loss, outer_loss, rho, jnp.asarray(0.05), order=order
    )

  start = jnp.asarray(golden["inner_gate_init"])
  for how in ("reverse", "forward") if order == 2 else ("first",):
    gradient, details = jax.jit(run, static_argnums=1)(start, how)
    got = {
      "L1": details["mtrain"][0],
      "inner_grad": details["inner_gradient"],
      "gate_updated_clamped": details["moved"],
      "y_mtest": np.moveaxis(details["mtest"][1], -1, 1),
      "L2": details["mtest"][0],
      "grad_gate_L2": gradient,
    }
    for name, value in got.items():
      want = golden[f"f64/inner/{norm}/order{order}/{name}"]
      error = rules.relative_error(value, want)
      agree("norm layers float64: inner step", error, FLOAT64_LIMIT)
