"""A two-layer network and batches for it, compiled in a second."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from metabin_jax import models
from metabin_jax.methods import objectives, optim
from metabin_jax.methods import state as train_state
from metabin_jax.models import layers, registry


class Backbone(nn.Module):
  """Two smooth convolution layers: finite differences meet no kinks."""

  norm: str = "bin"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, mode):
    for i, stride in enumerate((2, 1)):
      x = layers.Conv(6, 3, stride, dtype=self.dtype, name=f"conv{i}")(x)
      site = registry.Site("norm", "resnet", i)
      x = jnp.tanh(registry.norm_at(self.norm, site, f"norm{i}")(x, mode))
    return x


class Batch(NamedTuple):
  image: np.ndarray
  pid: np.ndarray
  domain: np.ndarray


def network(norm="bin", dtype=jnp.float32):
  return models.ReIDNetwork(Backbone(norm, dtype), num_classes=6, dtype=dtype)


def batch(seed=0, domains=(0, 1, 2)) -> Batch:
  """Two persons of two images in each domain, 8 x 8 pixels."""
  random = np.random.default_rng(seed)
  pid = np.repeat([[2 * d, 2 * d + 1] for d in domains], 2).astype(np.int32)
  domain = np.repeat(domains, 4).astype(np.int32)
  style = 40 * domain[:, None, None, None]
  image = random.integers(0, 130, (pid.size, 8, 8, 3)) + style
  return Batch(image.astype(np.uint8), pid, domain)


def variables(norm="bin", dtype=jnp.float32, seed=0):
  """Weights of unit scale, rho inside (0, 1), statistics off their start."""
  net = network(norm, dtype)
  start = models.init_variables(net, jax.random.key(0), 8, 8)
  random = np.random.default_rng(seed)

  def draw(path, leaf):
    name = path[-1].key
    if name == "rho":
      value = random.uniform(0.3, 0.7, leaf.shape)
    elif name == "var" or name.endswith("scale"):
      value = random.uniform(0.7, 1.4, leaf.shape)
    else:
      value = random.normal(0, 0.4, leaf.shape)
    return jnp.asarray(value, dtype)

  return jax.tree_util.tree_map_with_path(draw, start)


def make_state(norm="bin", dtype=jnp.float32, rate=0.1):
  """(state, optimizer of params, optimizer of rho)."""
  tx, tx_balance = optim.make_params_tx(), optax.sgd(rate)
  values = variables(norm, dtype)
  return train_state.create_state(values, tx, tx_balance), tx, tx_balance


BASE = objectives.make_objective(("ce", "triplet"))
MTRAIN = objectives.make_objective(("shuffle", "triplet", "scatter"))
MTEST = objectives.make_objective(("triplet",))


def assert_same(a, b):
  """Bit-identical trees."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def differs(a, b) -> bool:
  return any(
    not np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )
