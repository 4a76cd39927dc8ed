"""Networks of a few channels, no two numbers of which are alike."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from metabin_jax import models
from metabin_jax.evaluation import extract
from metabin_jax.interop import folding
from metabin_jax.ops import convolution

HEIGHT, WIDTH = 64, 32
WIDTHS = {"resnet18": 0.125, "mobilenetv2": 0.25, "osnet": 0.25}


@functools.cache
def create(backbone: str, norm: str):
  """A network and variables, statistics, rho and biases not trivial."""
  network = models.create(
    backbone, norm=norm, num_classes=5, width=WIDTHS[backbone]
  )
  variables = jax.device_get(
    models.init_variables(network, jax.random.key(0), HEIGHT, WIDTH)
  )
  generator = np.random.default_rng(0)

  def change(array):
    if array.ndim > 1:  # a kernel
      return array
    return (array + generator.uniform(-0.3, 0.3, array.shape)).astype(
      array.dtype
    )

  return network, jax.tree.map(change, variables)


def images(count: int) -> np.ndarray:
  """Smooth coloured pictures."""
  generator = np.random.default_rng(1)
  coarse = generator.uniform(0, 255, (count, HEIGHT // 8, WIDTH // 8, 3))
  fine = coarse.repeat(8, 1).repeat(8, 2)
  fine += generator.uniform(-20, 20, fine.shape)
  return fine.clip(0, 255).astype(np.uint8)


@functools.cache
def fold(backbone: str, norm: str, flip: bool = False):
  """The program of `create`'s network, folded, for any number of images."""
  network, variables = create(backbone, norm)
  return fold_function(
    lambda x: extract.embed_pixels(network, flip, variables, x),
    (HEIGHT, WIDTH, 3),
    jnp.uint8,
  )


def fold_function(function, shape, dtype=jnp.float32):
  """A function of arrays [n, *shape], folded."""
  (n,) = export.symbolic_shape("n")
  with convolution.portable():
    return folding.fold(function, jax.ShapeDtypeStruct((n, *shape), dtype))


def run(folded, x) -> np.ndarray:
  """Calls a folded program on any number of arrays."""
  (aval,) = folded.in_avals
  spec = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
  exported = export.export(jax.jit(folding.call(folded)))(spec)
  return np.asarray(jax.jit(exported.call)(x))
