"""Where in an image a network's last feature map is strong."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from metabin_jax.models import ReIDNetwork

_STRENGTH = 0.55  # share of the colours in an overlay


def activation_maps(
  network: ReIDNetwork, variables: Mapping[str, Any], images: np.ndarray
) -> np.ndarray:
  """The length of the backbone's feature at every place.

  Args:
    network: the network.
    variables: its weights.
    images: uint8 [N, H, W, 3] RGB.

  Returns:
    float32 [N, h, w], each image's from 0 at its weakest place to 1 at its
    strongest; zeros if all are alike.

  Source: sum over channels of squared activations, Zagoruyko and Komodakis,
    Paying More Attention to Attention (ICLR 2017), Eq. 1; its square root.
  """
  maps = np.asarray(_maps(network, dict(variables), images), np.float32)
  low = maps.min((1, 2), keepdims=True)
  span = maps.max((1, 2), keepdims=True) - low
  return (maps - low) / np.where(span > 0, span, 1)


@functools.partial(jax.jit, static_argnums=0)
def _maps(network, variables, images):
  _, kept = network.apply(
    variables,
    images,
    mode="eval",
    capture_intermediates=lambda module, _: module.name == "backbone",
    mutable=["intermediates"],
  )
  (features,) = kept["intermediates"]["backbone"]["__call__"]
  return jnp.sqrt(jnp.sum(jnp.square(features.astype(jnp.float32)), axis=-1))


def overlay(image: np.ndarray, strength: np.ndarray) -> np.ndarray:
  """Lays a map over its image.

  Args:
    image: uint8 [H, W, 3] RGB.
    strength: float [h, w] in 0..1, from `activation_maps`.

  Returns:
    uint8 [H, W, 3]: the image in grey, coloured from dark blue (weak) to
    yellow (strong).
  """
  from matplotlib import colormaps

  height, width = image.shape[:2]
  grown = Image.fromarray(np.asarray(strength, np.float32)).resize(
    (width, height), Image.Resampling.BILINEAR
  )
  colours = colormaps["viridis"](np.asarray(grown))[..., :3]
  grey = np.asarray(Image.fromarray(image).convert("L"), np.float64) / 255
  mixed = (1 - _STRENGTH) * grey[..., None] + _STRENGTH * colours
  return np.round(255 * mixed).astype(np.uint8)
