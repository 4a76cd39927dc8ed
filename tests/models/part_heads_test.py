"""BNTA's network: its counts are those that the paper prints."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from metabin_jax import models
from metabin_jax.models import part_heads
from metabin_jax.ops import stripes


@pytest.fixture(scope="module")
def published():
  """Shapes of ResNet-50 under DualNorm with three heads and 18,530 persons."""
  network = models.create(
    "resnet50",
    norm="dualnorm",
    num_classes=18530,
    last_stride=2,
    heads="bnta",
  )
  images = jax.ShapeDtypeStruct((2, 256, 128, 3), jnp.uint8)
  shapes = jax.eval_shape(
    lambda key, x: network.init(key, x, mode="hold"), jax.random.key(0), images
  )
  return traverse_util.flatten_dict(shapes)


def count(shapes, *names):
  return sum(
    int(np.prod(leaf.shape))
    for path, leaf in shapes.items()
    if path[0] == "params" and path[-1] in names
  )


def test_counts_of_the_paper(published):
  layers = {path[:-1] for path in published if path[-1] == "bn_scale"}
  assert len(layers) == 60
  assert count(published, "bn_scale", "bn_bias") == 60_288
  assert count(published, "in_scale", "in_bias") == 3_584
  assert count(published, "kernel") == 23_454_912
  assert count(published, "projection") == 6 * 2048 * 256
  assert count(published, "identity") == 6 * 256 * 18_530
  assert count(published, "position", "position_bias") == 2048 * 6 + 6


def test_running_statistics_of_all_batch_norms(published):
  means = [p for p in published if p[0] == "batch_stats" and p[-1] == "mean"]
  assert len(means) == 60


def test_against_loops(float64):
  """Heads in NumPy, batch norm by the batch."""
  heads = part_heads.PartHeads(num_classes=5, parts=3, channels=4)
  x = np.random.default_rng(0).normal(size=(6, 8, 2, 7))
  variables = heads.init(jax.random.key(0), x, "hold")
  variables = jax.tree.map(
    lambda v: jnp.asarray(
      np.random.default_rng(v.size).normal(size=v.shape), jnp.float64
    ),
    variables,
  )
  found = heads.apply(variables, x, "hold")
  params = jax.tree.map(np.asarray, variables["params"])
  for part, (start, stop) in enumerate(stripes.stripe_bounds(8, 3)):
    pooled = x[:, start:stop].mean((1, 2))
    position = pooled @ params["position"] + params["position_bias"]
    np.testing.assert_allclose(found.position[:, part], position, 1e-9)
    y = pooled @ params["projection"][part]
    y = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5)
    affine = params[f"bn{part}"]
    y = np.maximum(y * affine["bn_scale"] + affine["bn_bias"], 0)
    np.testing.assert_allclose(
      found.features[:, part], y, rtol=1e-9, atol=1e-12
    )
    identity = y @ params["identity"][part] + params["identity_bias"][part]
    np.testing.assert_allclose(found.identity[:, part], identity, 1e-9)


def test_stripes_need_no_weights():
  plain = models.create("resnet18", norm="bn", num_classes=3, width=0.125)
  variables = models.init_variables(plain, jax.random.key(0), 32, 16)
  images = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), np.uint8)
  found = plain.clone(heads="stripes").apply(variables, images, mode="eval")
  assert plain.apply(variables, images, mode="eval").parts is None
  assert found.parts.position is None
  assert found.parts.features.shape == (2, 6, 64)
  np.testing.assert_allclose(  # two rows: the first three parts are the upper
    found.parts.features[:, [0, 5]].mean(1), found.pooled, rtol=1e-5
  )


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"heads": "three"}, "heads is 'three'"),
    ({"parts": 0}, "parts is 0"),
  ],
)
def test_refused(options, said):
  with pytest.raises(ValueError, match=said):
    models.create("resnet18", norm="bn", num_classes=3, **options)
