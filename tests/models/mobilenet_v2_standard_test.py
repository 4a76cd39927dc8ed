"""MobileNetV2 as published, against what is known of the published network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax import models
from metabin_jax.interop import matching


def channels(width):
  """Output channels of stem, stages and last convolution."""
  found = matching.shapes("mobilenetv2_standard", "bn", width)
  last = [1, 2, 3, 4, 3, 3, 1]
  paths = [("layer1", "conv")]
  paths += [
    (f"layer{stage}_{blocks - 1}", "conv3")
    for stage, blocks in enumerate(last, 2)
  ]
  paths += [("layer9", "conv")]
  return [found["params", "backbone", *path, "kernel"][3] for path in paths]


def test_parameters_of_the_published_network():
  # 3,504,872 with its classifier of 1,000 classes.
  found = matching.shapes("mobilenetv2_standard", "bn", 1.0)
  parameters = sum(
    int(np.prod(shape))
    for path, shape in found.items()
    if path[:2] == ("params", "backbone")
  )
  assert parameters == 3_504_872 - (1280 * 1000 + 1000)


@pytest.mark.parametrize(
  ("width", "want"),
  [
    (1.0, [32, 16, 24, 32, 64, 96, 160, 320, 1280]),
    (1.4, [48, 24, 32, 48, 88, 136, 224, 448, 1792]),
    (0.5, [16, 8, 16, 16, 32, 48, 80, 160, 1280]),
  ],
)
def test_channels_are_multiples_of_8(width, want):
  assert channels(width) == want


def test_every_arm_gives_an_embedding():
  # With no 1x1 convolution into the first block its first norm is the 3x3's.
  images = jnp.zeros((2, 32, 16, 3), jnp.uint8)
  for norm in ("bin", "ibn_a", "dualnorm", "snr"):
    network = models.create(
      "mobilenetv2_standard", norm=norm, num_classes=3, width=0.25
    )
    variables = jax.eval_shape(
      lambda key, network=network: network.init(key, images, mode="hold"),
      jax.random.key(0),
    )
    body = variables["params"]["backbone"]
    assert "conv1" not in body["layer2_0"]
    assert "conv1" in body["layer3_0"]
    out = jax.eval_shape(
      lambda v, network=network: network.apply(v, images, mode="eval"),
      variables,
    )
    assert out.embedding.shape == (2, 1280)
