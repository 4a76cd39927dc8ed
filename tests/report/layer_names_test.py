"""Names and order of layers."""

from __future__ import annotations

import types
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from metabin_jax import models
from metabin_jax.errors import UserError
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.batch_instance import BatchInstanceNorm
from metabin_jax.report import layer_names
from metabin_jax.runtime import loop


class Inner(nn.Module):
  """Its two layers come in an order that is not the alphabet's."""

  @nn.compact
  def __call__(self, x, mode):
    for name in ("late", "early"):
      x = BatchInstanceNorm(name=name)(x, mode)
    return x


class Backbone(nn.Module):
  """layer10 after layer9 after the stem; and one layer without a rho."""

  norm: Any = BatchInstanceNorm

  @nn.compact
  def __call__(self, x, mode):
    x = self.norm(name="stem")(x, mode)
    x = BatchNorm(name="plain")(x, mode)
    if self.norm is BatchNorm:
      return x
    x = Inner(name="layer9")(x, mode)
    return Inner(name="layer10")(x, mode)


ORDER = [
  "stem", "layer9_late", "layer9_early", "layer10_late", "layer10_early",
]  # fmt: skip


def network(norm=BatchInstanceNorm):
  return models.ReIDNetwork(Backbone(norm), num_classes=3)


def test_order_is_that_of_the_forward_pass():
  found = layer_names.forward_order(network(), 8, 4)
  assert found == ORDER
  assert found != sorted(found)


def test_no_rho_no_names():
  assert layer_names.forward_order(network(BatchNorm), 8, 4) == []


def loaded(norm=BatchInstanceNorm):
  net = network(norm)
  config = types.SimpleNamespace(
    data=types.SimpleNamespace(height_px=8, width_px=4),
    model=types.SimpleNamespace(norm="bn"),
  )
  variables = models.init_variables(net, jax.random.key(0), 8, 4)
  flat, tree = jax.tree.flatten(variables["balance"])
  numbered = [np.full(leaf.shape, i) for i, leaf in enumerate(flat)]
  variables["balance"] = jax.tree.unflatten(tree, numbered)
  return types.SimpleNamespace(config=config, network=net, variables=variables)


def test_values_follow_their_names():
  run = loaded()
  found = layer_names.rho_of(run, "here")
  assert list(found) == ORDER
  # JAX numbers leaves by the sorted names of their modules.
  assert [int(v[0]) for v in found.values()] == [4, 3, 2, 1, 0]
  # And the metrics call them the same.
  for name, rho in found.items():
    metrics = loop.rho_summary(run.variables["balance"])
    assert metrics[f"rho/{name}/mean"] == rho.mean()


def test_a_network_without_rho_is_refused():
  with pytest.raises(UserError, match=r"here has no rho.*'bn'"):
    layer_names.rho_of(loaded(BatchNorm), "here")
