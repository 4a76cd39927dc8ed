"""The paper's Table S1, all seven networks, from abstract evaluation."""

from __future__ import annotations

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules, training

from metabin_jax import models
from metabin_jax.interop import official

TABLE = json.loads((rules.FOLDER / "g_table_s1.json").read_text())
# Network: dimension, norm layers, rho, parameters in millions, as printed.
PAPER = {
  "mobilenetv2_1.0": (1280, 53, 17088, 2.26),
  "mobilenetv2_1.4": (1792, 53, 23822, 4.34),
  "resnet18": (512, 20, 4800, 11.19),
  "resnet34": (512, 36, 8512, 21.30),
  "resnet50": (2048, 53, 26560, 23.56),
  "resnet101": (2048, 104, 52672, 42.61),
  "resnet152": (2048, 155, 75712, 58.30),
}


@functools.cache
def abstract(name):
  """Shapes of {"params", "balance", "batch_stats"} and of the outputs."""
  network = training.create(name, dtype=jnp.float32)
  images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.uint8)
  outputs, variables = jax.eval_shape(
    lambda x: network.init_with_output(jax.random.key(0), x, mode="hold"),
    images,
  )
  return outputs, variables


def count(variables, select):
  """Number of values in the backbone leaves that `select(last name)` picks."""
  leaves = jax.tree_util.tree_leaves_with_path(variables["params"]["backbone"])
  return sum(int(np.prod(v.shape)) for p, v in leaves if select(p[-1].key))


@pytest.mark.parametrize("name", PAPER)
def test_row(name):
  outputs, variables = abstract(name)
  dimension, norms, rho, millions = PAPER[name]
  golden = TABLE[name]
  assert outputs.pooled.shape == outputs.embedding.shape == (2, dimension)
  assert outputs.logits.shape == (2, 20)
  gates = jax.tree.leaves(variables["balance"])
  assert len(gates) == norms == golden["norm_layers"]
  assert sum(g.size for g in gates) == rho == golden["gates"]
  conv = count(variables, lambda name: name == "kernel")
  batch = count(variables, lambda name: name.startswith("bn_"))
  instance = count(variables, lambda name: name.startswith("in_"))
  assert (conv, batch, instance) == (
    golden["conv"],
    golden["bn_affine"],
    golden["in_affine"],
  )
  # The paper's "all parameters", to its two digits.
  total = conv + batch + instance
  assert total == golden["conv_bn_in"]
  assert round(total / 1e6, 2) == millions == golden["paper"]["all_params_M"]
  neck = jax.tree.leaves(variables["params"]["neck"])
  assert sum(v.size for v in neck) == 2 * dimension == golden["neck"]


@pytest.mark.parametrize("name", ["mobilenetv2_1.4", "resnet50"])
def test_channels_layer_by_layer(name):
  _, variables = abstract(name)
  ours = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables["balance"]):
    names = tuple(entry.key for entry in path)
    ours[official.official_key(names, "bin")] = leaf.size
  order = [k for k in rules.key_shapes(name) if k.endswith(".gate")]
  assert [ours[key] for key in order] == TABLE[name]["norm_layer_channels"]
  assert len(order) == len(ours)


@pytest.mark.parametrize("name", ["mobilenetv2_1.0", "resnet50"])
def test_final_map_is_a_sixteenth(name):
  body = training.create(name, dtype=jnp.float32).backbone
  images = jax.ShapeDtypeStruct((2, 256, 128, 3), jnp.float32)
  features, _ = jax.eval_shape(
    lambda x: body.init_with_output(jax.random.key(0), x, mode="hold"), images
  )
  assert features.shape == (2, 16, 8, PAPER[name][0])
  assert body.feature_dim == PAPER[name][0]


def test_first_mobilenet_block_keeps_its_expansion():
  _, variables = abstract("mobilenetv2_1.0")
  block = variables["params"]["backbone"]["layer2_0"]
  assert block["conv1"]["conv"]["kernel"].shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
  ("backbone", "width"),
  [("mobilenetv2", 0.125), ("resnet18", 0.0625), ("resnet50", 0.1)],
)
def test_tiny_widths(backbone, width):
  network = models.create(backbone, norm="bin", num_classes=3, width=width)
  images = jax.ShapeDtypeStruct((2, 32, 16, 3), jnp.uint8)
  outputs, _ = jax.eval_shape(
    lambda x: network.init_with_output(jax.random.key(0), x, mode="hold"),
    images,
  )
  assert outputs.pooled.shape == (2, network.backbone.feature_dim)


@pytest.mark.parametrize(
  ("backbone", "width"), [("mobilenetv2", 0.1), ("resnet18", 0.02)]
)
def test_widths_below_the_smallest(backbone, width):
  network = models.create(backbone, norm="bin", num_classes=3, width=width)
  images = jax.ShapeDtypeStruct((2, 32, 16, 3), jnp.uint8)
  with pytest.raises(ValueError, match=f"width is {width}, want at least"):
    jax.eval_shape(
      lambda x: network.init(jax.random.key(0), x, mode="hold"), images
    )
