"""The base step with restitution layers: it collects what they sow."""

from __future__ import annotations

import functools

import jax
import numpy as np
import optax
import pytest
import tiny
from flax import linen as nn

from metabin_jax import models
from metabin_jax.methods import joint, objectives, optim
from metabin_jax.methods import state as train_state
from metabin_jax.models import registry
from metabin_jax.ops import restitution_loss


class Backbone(nn.Module):
  """The two layers of tiny.Backbone, each a stage with what may follow it."""

  norm: str

  @nn.compact
  def __call__(self, x, mode):
    x = tiny.Backbone(self.norm)(x, mode)
    for stage in (1, 4):
      site = registry.Site("stage", "resnet", stage)
      x = registry.apply_at(self.norm, site, f"stage{stage}", x, mode)
    return x


@functools.cache
def built(norm="snr"):
  network = models.ReIDNetwork(Backbone(norm), num_classes=6)
  tx = optim.make_params_tx()
  variables = models.init_variables(network, jax.random.key(0), 8, 8)
  return network, tx, train_state.create_state(variables, tx, optax.sgd(0.1))


@functools.cache
def run(names, norm="snr"):
  """(state before, state after, metrics) of one base step."""
  network, tx, state = built(norm)
  step = joint.make_base_step(
    network,
    objectives.make_objective(names, weights={"snr": 50.0}),
    tx,
    optax.constant_schedule(0.05),
  )
  return state, *jax.jit(step)(state, tiny.batch())


def test_the_step_has_the_loss_of_both_places():
  state, after, metrics = run(("ce", "snr"))
  network, *_ = built()
  batch = tiny.batch()

  @jax.jit
  def sown(variables):
    return network.apply(
      variables, batch.image, mode="update", mutable=["batch_stats", "aux"]
    )[1]["aux"]

  aux = sown(state.variables)
  pooled = [aux["backbone"][f"stage{n}"]["pooled"][0] for n in (1, 4)]
  assert [float(place.weight) for place in pooled] == pytest.approx([0.1, 0.5])
  want = restitution_loss.restitution_loss(aux, batch.pid)
  np.testing.assert_allclose(metrics["loss/snr"], want, rtol=1e-4)
  np.testing.assert_allclose(
    metrics["loss/total"], metrics["loss/ce"] + 50 * want, rtol=1e-4
  )
  # What was sown is no part of the state.
  assert jax.tree.structure(after) == jax.tree.structure(state)


def test_the_loss_moves_the_gates():
  _, with_loss, _ = run(("ce", "snr"))
  _, without, _ = run(("ce",))
  for stage in ("stage1", "stage4"):
    a, b = (
      state.params["backbone"][stage]["excite_bias"]
      for state in (with_loss, without)
    )
    assert np.max(np.abs(a - b)) > 1e-5


def test_training_makes_the_loss_smaller():
  network, tx, state = built()
  step = jax.jit(
    joint.make_base_step(
      network,
      objectives.make_objective(("ce", "snr"), weights={"snr": 10.0}),
      tx,
      optax.constant_schedule(0.02),
    )
  )
  losses = []
  for _ in range(12):
    state, metrics = step(state, tiny.batch())
    losses.append(float(metrics["loss/snr"]))
  assert np.all(np.isfinite(losses))
  assert losses[-1] < losses[0] - 0.01


def test_other_arms_have_nothing_to_collect():
  with pytest.raises(ValueError, match="use norm 'snr'"):
    run(("ce", "snr"), "bn")


def test_evaluation_collects_nothing():
  network, _, state = built()
  outputs = jax.jit(lambda v, x: network.apply(v, x, mode="eval"))(
    state.variables, tiny.batch().image
  )
  assert outputs.aux == ()
