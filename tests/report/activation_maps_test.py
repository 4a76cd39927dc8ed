"""Activation maps: of the last feature map, scaled for each image."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from metabin_jax import models
from metabin_jax.report import activation_maps

pytest.importorskip("matplotlib")


@pytest.fixture(name="network", scope="module")
def network_fixture():
  network = models.create("resnet18", norm="bin", num_classes=3, width=0.125)
  variables = models.init_variables(network, jax.random.key(0), 64, 32)
  return network, variables


def test_it_is_the_map_that_is_pooled(network):
  net, variables = network
  images = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3), np.uint8)
  maps = activation_maps.activation_maps(net, variables, images)
  backbone = {
    name: tree["backbone"] for name, tree in variables.items() if tree
  }
  pixels = (images - np.array(models.reid.PIXEL_MEAN)) / np.array(
    models.reid.PIXEL_STD
  )
  features = net.backbone.apply(backbone, pixels.astype(np.float32), "eval")
  want = np.linalg.norm(np.asarray(features), axis=-1)
  assert maps.shape == want.shape == (3, 4, 2)
  for found, length in zip(maps, want, strict=True):
    scaled = (length - length.min()) / np.ptp(length)
    np.testing.assert_allclose(found, scaled, atol=1e-5)


def test_a_map_without_differences_is_zero(network, monkeypatch):
  monkeypatch.setattr(
    activation_maps, "_maps", lambda *_: np.full((1, 4, 2), 3.0)
  )
  maps = activation_maps.activation_maps(*network, np.zeros((1, 64, 32, 3)))
  np.testing.assert_array_equal(maps, np.zeros((1, 4, 2)))


def test_overlay():
  image = np.full((8, 4, 3), 100, np.uint8)
  strength = np.zeros((2, 2))
  strength[0] = 1
  found = activation_maps.overlay(image, strength)
  assert found.shape == image.shape
  assert found.dtype == np.uint8
  top, bottom = found[0, 0].astype(int), found[-1, 0].astype(int)
  # Yellow where it is strong, dark blue where it is weak.
  assert top[0] > top[2] + 50
  assert bottom[2] > bottom[1]
  assert top.sum() > bottom.sum() + 100
