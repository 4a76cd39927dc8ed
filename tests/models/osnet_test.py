"""OSNet and its arms against a slow reference."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from naive_osnet import INSTANCE, Naive

from metabin_jax.models import osnet, registry

IMAGES = np.random.default_rng(0).normal(size=(3, 36, 20, 3))


def draw(tree):
  """Every leaf random, around values of its kind, float64."""
  random = np.random.default_rng(1)

  def leaf(path, value):
    noise = random.normal(size=value.shape)
    name = path[-1].key
    if name == "kernel":
      return noise / np.sqrt(np.prod(value.shape[:-1]))
    if name == "var" or name.endswith("scale"):
      return 1 + 0.3 * np.tanh(noise)
    return 0.3 * noise

  return jax.tree_util.tree_map_with_path(leaf, tree)


def make_network(norm):
  """The backbone at width 0.25 and its variables."""
  network = osnet.OSNet(norm, 0.25, dtype=jnp.float64)
  variables = jax.eval_shape(
    lambda: network.init(jax.random.key(0), jnp.asarray(IMAGES), "hold")
  )
  return network, draw(variables)


@pytest.mark.parametrize(
  "norm",
  [
    pytest.param(norm, marks=pytest.mark.slow if norm != "osnet_ain" else ())
    for norm in INSTANCE
  ],
)
def test_network_against_the_reference(norm, float64):
  network, variables = make_network(norm)
  got, after = jax.jit(
    lambda v, x: network.apply(v, x, "update", mutable=["batch_stats"])
  )(variables, IMAGES)
  naive = Naive(variables, INSTANCE[norm], "update")
  want = naive.backbone(IMAGES)
  assert np.mean(want > 0) > 0.2
  np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-7)
  before = traverse_util.flatten_dict(variables["batch_stats"], sep="/")
  moved = traverse_util.flatten_dict(after["batch_stats"], sep="/")
  assert set(moved) == {
    f"{n}/{m}" for n in naive.moved for m in ("mean", "var")
  }
  for layer, moments in naive.moved.items():
    for name, value in zip(("mean", "var"), moments, strict=True):
      old, new = (tree[f"{layer}/{name}"] for tree in (before, moved))
      np.testing.assert_allclose(
        new, 0.9 * old + 0.1 * value, rtol=1e-5, atol=1e-6
      )


def test_network_in_evaluation(float64):
  network, variables = make_network("bn")
  got = jax.jit(lambda v, x: network.apply(v, x, "eval"))(variables, IMAGES)
  want = Naive(variables, {}, "eval").backbone(IMAGES)
  assert np.mean(want > 0) > 0.2
  np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-7)


def make_block(inputs, norm="bn"):
  """A block of 64 channels, its variables, its input."""
  block = osnet.Block(
    64, norm, registry.Site("norm", "osnet", 2), dtype=jnp.float64
  )
  x = np.random.default_rng(2).normal(size=(2, 5, 3, inputs))
  variables = draw(
    jax.eval_shape(lambda: block.init(jax.random.key(0), x, "hold"))
  )
  return block, variables, x


@pytest.mark.parametrize("inputs", [64, 32])
def test_block_against_the_reference(inputs, float64):
  block, variables, x = make_block(inputs)
  assert ("downsample" in variables["params"]) == (inputs != 64)
  got = jax.jit(lambda v, x: block.apply(v, x, "hold"))(variables, x)
  want = Naive(variables, {}, "hold").block(x, "")
  np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


def test_every_stream_teaches_the_gate(float64):
  block, variables, x = make_block(64)
  params, stats = variables["params"], variables["batch_stats"]
  # No dead ReLU in a gate with one hidden channel.
  params["gate"]["squeeze"]["bias"] = np.ones(1)

  @jax.jit
  def slope(gate, alive):
    """Of the sum of squares, with only some streams alive."""

    def loss(gate):
      changed = {**params, "gate": gate}
      for depth in (1, 2, 3, 4):
        end = f"stream{depth}_{depth - 1}"
        bn = jax.tree.map(
          lambda v, a=alive[depth - 1]: a * v, params[end]["bn"]
        )
        changed[end] = {**params[end], "bn": bn}
      y = block.apply({"params": changed, "batch_stats": stats}, x, "hold")
      return jnp.sum(jnp.square(y))

    return jax.grad(loss)(gate)

  for stream in range(4):
    for leaf in jax.tree.leaves(slope(params["gate"], np.eye(4)[stream])):
      assert np.max(np.abs(leaf)) > 1e-6
  for leaf in jax.tree.leaves(slope(params["gate"], np.zeros(4))):
    np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


def test_bfloat16_and_initial_weights():
  x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4, 2, 64)))
  x = x.astype(jnp.bfloat16)
  site = registry.Site("norm", "osnet", 1)
  block = osnet.Block(128, "bn", site, dtype=jnp.bfloat16)
  y, variables = jax.jit(lambda k: block.init_with_output(k, x, "hold"))(
    jax.random.key(0)
  )
  assert y.dtype == jnp.bfloat16
  assert {v.dtype for v in jax.tree.leaves(variables)} == {np.dtype("float32")}
  feature, head = jax.jit(
    lambda k, y: osnet.Head().init_with_output(k, y, "hold")
  )(jax.random.key(0), y)
  assert feature.shape == (4, 1, 1, 512)
  assert feature.dtype == jnp.float32
  assert np.all(np.isfinite(feature))
  # Batch norm in every arm: instance norm of one pixel would be zero.
  assert np.mean(np.asarray(feature) > 0) > 0.2
  # Normal, variance 2 / fan-out.
  params, linear = variables["params"], head["params"]["linear"]
  for leaf, deviation in (
    (params["conv3"]["conv"]["kernel"], (2 / 128) ** 0.5),
    (params["stream1_0"]["conv2"]["kernel"], (2 / (9 * 32)) ** 0.5),
    (params["gate"]["excite"]["kernel"], (2 / 32) ** 0.5),
    (linear["kernel"], 0.01),
  ):
    assert np.std(leaf) == pytest.approx(deviation, rel=0.25)
  for dense in (linear, *params["gate"].values()):
    np.testing.assert_array_equal(dense["bias"], np.zeros(dense["bias"].shape))
