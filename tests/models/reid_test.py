from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax import models
from metabin_jax.models import registry

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 16, 3), np.uint8)


@functools.cache
def built(norm="bin", dtype=jnp.float32):
  network = models.create(
    "resnet18", norm=norm, num_classes=3, width=0.0625, dtype=dtype
  )
  return network, models.init_variables(network, jax.random.key(0), 32, 16)


@functools.cache
def runner(norm="bin", dtype=jnp.float32):
  """Jitted (variables, images) -> {mode: Outputs}, running statistics."""
  network, _ = built(norm, dtype)

  def run(variables, images):
    moving, moved = network.apply(
      variables, images, mode="update", mutable=["batch_stats"]
    )
    out = {
      m: network.apply(variables, images, mode=m) for m in ("hold", "eval")
    }
    return {"update": moving, **out}, moved.get("batch_stats", {})

  return jax.jit(run)


@pytest.mark.parametrize("norm", ["bin", "bn"])
def test_initial_variables(norm):
  _, variables = built(norm)
  assert set(variables) == {"params", "balance", "batch_stats"}
  rho = jax.tree.leaves(variables["balance"])
  assert len(rho) == (0 if norm == "bn" else 20)
  for leaf in rho:
    assert leaf.dtype == jnp.float32
    np.testing.assert_array_equal(leaf, np.ones(leaf.shape))
  # Initialization runs the network once; that must leave no trace.
  for path, leaf in jax.tree_util.tree_leaves_with_path(
    variables["batch_stats"]
  ):
    start = 1 if path[-1].key == "var" else 0
    np.testing.assert_array_equal(leaf, np.full(leaf.shape, start))
  names = {
    path[-1].key
    for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])
  }
  assert "rho" not in names


def test_modes():
  network, variables = built()
  outputs, moved = runner()(variables, IMAGES)
  assert outputs["update"].parts is None
  for a, b in zip(outputs["update"][:-1], outputs["hold"][:-1], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
  assert not np.allclose(outputs["hold"].pooled, outputs["eval"].pooled)
  assert jax.tree.structure(moved) == jax.tree.structure(
    variables["batch_stats"]
  )
  for a, b in zip(
    jax.tree.leaves(moved),
    jax.tree.leaves(variables["batch_stats"]),
    strict=True,
  ):
    assert not np.array_equal(a, b)
  with pytest.raises(ValueError, match="mode is 'train', want one of"):
    network.apply(variables, IMAGES, mode="train")


def test_pixels_may_be_uint8_or_float():
  _, variables = built()
  whole, _ = runner()(variables, IMAGES)
  floats, _ = runner()(variables, IMAGES.astype(np.float32))
  np.testing.assert_array_equal(whole["eval"].pooled, floats["eval"].pooled)


def test_bfloat16_backbone_with_float32_outputs():
  _, variables = built(dtype=jnp.bfloat16)
  for leaf in jax.tree.leaves(variables):
    assert leaf.dtype == jnp.float32
  narrow, _ = runner(dtype=jnp.bfloat16)(variables, IMAGES)
  wide, _ = runner()(variables, IMAGES)
  for mode in ("hold", "eval"):
    for output in narrow[mode][:3]:
      assert output.dtype == jnp.float32
      assert np.all(np.isfinite(output))
    error = np.max(np.abs(narrow[mode].pooled - wide[mode].pooled))
    assert error < 0.2 * np.max(np.abs(wide[mode].pooled))
  assert np.any(narrow["eval"].pooled != wide["eval"].pooled)


def test_outputs_hang_together():
  _, variables = built()
  rows = 3.0 * np.random.default_rng(1).standard_normal((32, 3))
  variables = jax.tree.map(lambda v: v, variables)
  variables["params"]["classifier"] = jnp.asarray(rows, jnp.float32)
  outputs, _ = runner()(variables, IMAGES)
  out = outputs["hold"]
  np.testing.assert_allclose(
    out.logits, out.embedding @ rows, rtol=1e-4, atol=1e-4
  )
  pooled = np.asarray(out.pooled, np.float64)
  spread = np.sqrt(pooled.var(0) + 1e-5)
  np.testing.assert_allclose(
    out.embedding, (pooled - pooled.mean(0)) / spread, rtol=1e-3, atol=1e-3
  )


def test_evaluation_is_image_by_image():
  network, variables = built()
  run = jax.jit(lambda x: network.apply(variables, x, mode="eval").embedding)
  together = run(IMAGES)
  alone = np.concatenate([run(IMAGES[i : i + 1]) for i in range(4)])
  np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_images_have_four_axes():
  network, variables = built()
  for shape in ((32, 16, 3), (4, 3, 32, 16)):
    with pytest.raises(ValueError, match=r"want \[B, H, W, 3\]"):
      network.apply(variables, np.zeros(shape, np.uint8), mode="eval")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"backbone": "resnet20"}, "backbone is 'resnet20', want one of"),
    ({"backbone": "vit"}, "backbone is 'vit', want one of"),
    ({"norm": "gn"}, "norm is 'gn', want one of"),
    ({"num_classes": 0}, "num_classes is 0, want at least 1"),
  ],
)
def test_unknown_names(change, message):
  options = {"backbone": "resnet18", "norm": "bin", "num_classes": 3} | change
  with pytest.raises(ValueError, match=message):
    models.create(options.pop("backbone"), **options)


def test_layer_at_rejects_unknown_arms():
  site = registry.Site("norm", "resnet", 0)
  with pytest.raises(ValueError, match="norm is 'layer', want one of"):
    registry.layer_at("layer", site, "bn")
