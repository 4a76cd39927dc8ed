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
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 16, 3), np.uint8)


def loss_of(backbone, width, norm, remat):
  """Variables, and params, balance -> (loss, moved collections)."""
  network = models.create(
    backbone, norm=norm, num_classes=3, width=width, remat=remat
  )
  variables = models.init_variables(network, jax.random.key(0), 32, 16)

  def loss(params, balance):
    outputs, moved = network.apply(
      {**variables, "params": params, "balance": balance},
      IMAGES,
      mode="update",
      mutable=["batch_stats", "aux"],
    )
    return jnp.mean(jnp.square(outputs.embedding - 1)), moved

  return variables, loss


def kept_bytes(loss, *args):
  """Bytes that a backward pass is handed by its forward pass."""
  _, backward, _ = jax.eval_shape(
    lambda *a: jax.vjp(loss, *a, has_aux=True), *args
  )
  return sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward)
  )


@pytest.mark.parametrize(("backbone", "width", "norm"), BACKBONES)
def test_the_same_numbers_with_less_kept(backbone, width, norm):
  found, kept = [], []
  for remat in (False, True):
    variables, loss = loss_of(backbone, width, norm, remat)
    args = variables["params"], variables["balance"]
    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    found.append((variables, run(*args)))
    kept.append(kept_bytes(loss, *args))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max(initial=0)
    ),
    *found,
  )
  assert kept[1] < 0.7 * kept[0]


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
