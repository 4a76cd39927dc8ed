"""Networks that compute their blocks again: same numbers, less kept."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from metabin_jax import models
from metabin_jax.models import registry

# Width that the backbone allows, and blocks wide against their inputs.
BACKBONES = (
  ("resnet18", 0.0625, "bin"),
  ("resnet50", 0.0625, "snr"),
  ("mobilenetv2", 0.25, "bin"),
  ("osnet", 0.25, "osnet_ain"),
)
NAMES = ("params", "balance", "batch_stats")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 16, 3), np.uint8)


def loss_of(backbone, width, norm, remat):
  """() -> variables, and their trees -> (loss, moved collections)."""
  network = models.create(
    backbone, norm=norm, num_classes=3, width=width, remat=remat
  )

  def start():
    variables = models.init_variables(network, jax.random.key(0), 32, 16)
    return [variables[name] for name in NAMES]

  def loss(*trees):
    outputs, moved = network.apply(
      dict(zip(NAMES, trees, strict=True)),
      IMAGES,
      mode="update",
      mutable=["batch_stats", "aux"],
    )
    return jnp.mean(jnp.square(outputs.embedding - 1)), moved

  return start, loss


def slow(case):
  return pytest.param(*case, marks=pytest.mark.slow)


def kept_bytes(loss, *args):
  """Bytes that a backward pass is handed by its forward pass."""
  _, backward, _ = jax.eval_shape(
    lambda *a: jax.vjp(loss, *a, has_aux=True), *args
  )
  return sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward)
  )


@pytest.mark.parametrize(
  ("backbone", "width", "norm"), [*BACKBONES[:1], *map(slow, BACKBONES[1:])]
)
def test_less_is_kept(backbone, width, norm):
  """Traced only."""
  kept = []
  for remat in (False, True):
    start, loss = loss_of(backbone, width, norm, remat)
    kept.append(kept_bytes(loss, *jax.eval_shape(start)))
  assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize(
  ("backbone", "width", "norm"),
  [*BACKBONES[:1], *map(slow, BACKBONES[1:])],
)
def test_the_same_numbers(backbone, width, norm):
  found = []
  for remat in (False, True):
    start, loss = loss_of(backbone, width, norm, remat)
    trees = start()
    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    found.append((trees, run(*trees)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max(initial=0)
    ),
    *found,
  )


def test_a_backbone_of_a_user_may_not_have_it():
  class Plain(nn.Module):
    feature_dim = 3

    def __call__(self, x, mode):
      return x

  registry.register_backbone("plain_remat_test", lambda **unused: Plain())
  try:
    with pytest.raises(ValueError, match="has no attribute remat"):
      models.create("plain_remat_test", norm="bn", num_classes=2, remat=True)
  finally:
    del registry._backbones["plain_remat_test"]
