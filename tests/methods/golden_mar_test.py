"""Three epochs of MAR's official training loop, replayed in float64."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from metabin_jax.methods import mar, optim
from metabin_jax.methods import state as train_state
from metabin_jax.models import Outputs
from metabin_jax.ops import cross_view, soft_multilabels

pytestmark = pytest.mark.usefixtures("float64")
GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "mar.npz")
LIMIT = 1e-9


class Linear(nn.Module):
  """The body of the golden run: a matrix, and agents behind it."""

  @nn.compact
  def __call__(self, x, *, mode):
    del mode
    body = self.param("body", nn.initializers.zeros, (14, 20))
    agents = self.param("classifier", nn.initializers.zeros, (20, 11))
    pooled = x @ body
    return Outputs(pooled, pooled, pooled @ agents)


class Source(NamedTuple):
  image: Any
  pid: Any


class Target(NamedTuple):
  image: Any
  row: Any
  view: Any
  pid: Any = None


def take(key):
  return GOLDEN[f"train/{key}"]


def initial_memory(params, views, ratio, scale):
  logs = mar.log_multilabels(
    jnp.asarray(take("xt")) @ params["body"], params["classifier"], scale
  )
  y = jnp.exp(logs)
  agreement = soft_multilabels.pairwise_agreement(y, y)
  agreement = np.sort(np.asarray(agreement)[np.triu_indices(len(y), 1)])
  centers = cross_view.initial_centers(logs, views, int(views.max()) + 1)
  place = int(len(agreement) * ratio)
  return mar.create_memory(len(y), agreement[-place], centers)


def test_three_epochs():
  half = int(take("half_batch"))
  ratio, scale = float(take("mining_ratio")), float(take("scale"))
  rules = mar.Rules(
    ratio=ratio,
    view_weight=float(take("lam1")),
    source_weight=float(take("lam2")),
    joint_weight=float(take("beta")),
    scale=scale,
    margin=float(take("margin")),
    center_momentum=float(take("cml_momentum")),
  )
  views = np.asarray(take("vt"), np.int32)
  params = {
    "body": jnp.asarray(take("w_body0").T),
    "classifier": jnp.asarray(take("w_fc0").T),
  }
  tx = optim.make_params_tx(
    momentum=float(take("momentum")), weight_decay=float(take("wd"))
  )
  state = train_state.create_state({"params": params}, tx, optax.sgd(0.1))
  state = state.replace(memory=initial_memory(params, views, ratio, scale))
  steps = len(take("perm_s")[0]) // half
  step = jax.jit(
    mar.make_train_step(
      Linear(),
      tx,
      optax.constant_schedule(float(take("lr"))),
      rules,
      num_views=int(views.max()) + 1,
      first_mining_step=steps,
    )
  )
  losses = []
  for order_s, order_t in zip(take("perm_s"), take("perm_t"), strict=True):
    batches_t = len(order_t) // half
    for i in range(steps):
      rows = order_s[i * half :][:half]
      # A site that is through begins anew, in the same order.
      index = order_t[i % batches_t * half :][:half]
      state, metrics = step(
        state,
        Source(take("xs")[rows], take("ls")[rows]),
        Target(take("xt")[index], index, views[index]),
      )
      names = ("mdl", "cml", "al", "rj", "total")
      losses.append([float(metrics[f"loss/{name}"]) for name in names])
  np.testing.assert_allclose(losses, take("losses"), LIMIT)
  np.testing.assert_allclose(state.params["body"], take("w_body").T, LIMIT)
  np.testing.assert_allclose(state.params["classifier"], take("w_fc").T, LIMIT)
  memory = state.memory
  np.testing.assert_allclose(
    memory.multilabels[: len(views)], take("memory"), LIMIT, atol=LIMIT
  )
  np.testing.assert_allclose(memory.threshold, take("thr"), LIMIT)
  np.testing.assert_allclose(memory.centers.mean, take("centre_mean"), LIMIT)
  np.testing.assert_allclose(memory.centers.std, take("centre_std"), LIMIT)
