"""Whole networks against the reference's forward pass.

Float64: ResNet-18 runs the library's own convolution; the larger networks and
the other norm arms trace it as matrix products (tests/golden/convolution.py).
Float32 limits are `FLOAT32` times the reference's own float32 error.
"""

from __future__ import annotations

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules, training

from metabin_jax.interop import official

FLOAT64_LIMIT = 1e-9
FLOAT32 = 6
EVERY = 4  # kept columns of the thinned arrays, see golden/reduce.py


@functools.cache
def forward(network, norm, dtype, products):
  """Jitted variables -> {mode: Outputs} and the running statistics."""
  net = training.create(network, norm, dtype=dtype)

  def run(variables, images):
    context = training.fast_convolutions if products else contextlib.nullcontext
    with context():
      # One training pass serves "hold" too: they differ in the statistics.
      general, moved = net.apply(
        variables, images, mode="update", mutable=["batch_stats"]
      )
      evaluation = net.apply(variables, images, mode="eval")
    return {"hold": general, "eval": evaluation}, moved.get("batch_stats", {})

  # Float32 is compiled as in production: its rounding depends on that.
  narrow = dtype == jnp.float32
  return jax.jit(run, compiler_options=None if narrow else training.QUICK)


def compute(network, norm="bin", gates="uniform", dtype=jnp.float64, **options):
  variables = training.variables(network, norm, gates)
  variables = jax.tree.map(lambda v: jnp.asarray(v, dtype), variables)
  products = options.get("products", True)
  images = rules.forward_batch().image
  return forward(network, norm, dtype, products)(variables, images)


def arrays(outputs):
  """Our arrays by golden name."""
  for mode, out in outputs.items():
    yield f"{mode}/pooled", out.pooled
    yield f"{mode}/bn", out.embedding
    if mode == "hold":
      yield f"{mode}/logits", out.logits


def thin(golden, got):
  """Keeps the columns that the golden file keeps."""
  wide = got.shape[-1] != golden.shape[-1]
  return np.asarray(got)[:, ::EVERY] if wide else np.asarray(got)


def mode_of(name):
  return name.split("/")[0]


def check_float64(agree, network, gates, **options):
  outputs, moved = compute(network, gates=gates, **options)
  with rules.load(f"c_forward_{network}.npz") as golden:
    for name, got in arrays(outputs):
      assert got.dtype == np.float64
      want = golden[f"{gates}/{name}"]
      error = rules.relative_error(thin(want, got), want)
      item = f"forward {network} float64: {mode_of(name)}"
      agree(item, error, FLOAT64_LIMIT)
    if gates == "uniform":
      got = official.to_official({"batch_stats": moved}, "bin")
      error = training.summary_errors(
        got, golden["running_names"], golden["running_summary"]
      )
      item = f"forward {network} float64: running statistics"
      agree(item, error, FLOAT64_LIMIT)


def test_golden_images_are_regenerated():
  with rules.load("c_forward_resnet18.npz") as golden:
    assert "images_uint8" not in golden.files
    assert rules.checksum(rules.forward_batch()) == golden["images_crc"]


@pytest.mark.parametrize("gates", ["uniform", "ones"])
def test_resnet18_float64(agree, float64, gates):
  check_float64(agree, "resnet18", gates, products=False)


@pytest.mark.parametrize("gates", ["uniform", "ones"])
def test_mobilenet_float64(agree, float64, gates):
  check_float64(agree, "mobilenetv2_1.0", gates)


@pytest.mark.slow
@pytest.mark.parametrize("gates", ["uniform", "ones"])
@pytest.mark.parametrize("network", ["mobilenetv2_1.4", "resnet50"])
def test_large_networks_float64(agree, float64, network, gates):
  check_float64(agree, network, gates)


@pytest.mark.parametrize(
  "network",
  ["resnet18", pytest.param("mobilenetv2_1.0", marks=pytest.mark.slow)],
)
def test_float32(agree, network):
  outputs, _ = compute(network, dtype=jnp.float32, products=False)
  with rules.load(f"c_forward_{network}.npz") as golden:
    for name, got in arrays(outputs):
      assert got.dtype == np.float32
      want = golden[f"uniform/{name}"]
      gap = golden[f"gap/uniform/{name}"] / np.max(np.abs(want))
      error = rules.relative_error(thin(want, got), want)
      item = f"forward {network} float32: {mode_of(name)}"
      agree(item, error, FLOAT32 * gap)


def check_norm(agree, network, norm):
  outputs, _ = compute(network, norm)
  with rules.load("c_forward_norm_types.npz") as golden:
    for name, got in arrays(outputs):
      if name.endswith("/bn"):
        continue
      want = golden[f"{network}/{rules.NORMS[norm]}/{name}"]
      error = rules.relative_error(thin(want, got), want)
      item = f"forward {network} {norm} float64: {mode_of(name)}"
      agree(item, error, FLOAT64_LIMIT)


# joint_test.py trains the other two arms against golden arrays.
@pytest.mark.parametrize(
  "norm",
  [
    pytest.param("bn", marks=pytest.mark.slow),
    "in",
    pytest.param("bin_half", marks=pytest.mark.slow),
    "bin_shared",
  ],
)
def test_norm_arms_of_resnet18(agree, float64, norm):
  check_norm(agree, "resnet18", norm)


@pytest.mark.slow
@pytest.mark.parametrize(
  "norm", ["bn", "in", "bin_half", "bin_shared", "dualnorm_metabin"]
)
def test_norm_arms_of_mobilenet(agree, float64, norm):
  check_norm(agree, "mobilenetv2_1.0", norm)
