"""One iteration of method "mar" on a network with batch norms."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
import tiny

from metabin_jax import models
from metabin_jax.methods import mar, optim
from metabin_jax.methods import state as train_state

IMAGES = 12


class Target(NamedTuple):
  image: Any
  row: Any
  view: Any
  pid: Any


def halves():
  """Labelled images that are dark, and others that are bright."""
  random = np.random.default_rng(0)
  dark = random.integers(0, 90, (8, 8, 8, 3)).astype(np.uint8)
  bright = random.integers(120, 256, (6, 8, 8, 3)).astype(np.uint8)
  pid = np.arange(8, dtype=np.int32) % 2
  rows = np.array([7, 2, 11, 0, 5, 4], np.int32)
  return tiny.Batch(dark, pid, pid), Target(bright, rows, rows % 3, rows // 2)


@pytest.fixture(scope="module", name="taken")
def taken_fixture():
  """The state before and after a step with two agents, and its metrics."""
  network = models.ReIDNetwork(tiny.Backbone("bn"), 2, neck="none")
  variables = models.init_variables(network, jax.random.key(0), 8, 8)
  tx = optim.make_params_tx(decay_norms=False)
  state = train_state.create_state(variables, tx, optax.sgd(0.1))
  state = state.replace(memory=mar.empty_memory(IMAGES, 2))
  step = mar.make_train_step(
    network,
    tx,
    optax.constant_schedule(1e-3),
    mar.Rules(ratio=0.3),
    num_views=3,
    first_mining_step=0,
  )
  # Given up, as every runner does.
  after, metrics = jax.jit(step, donate_argnums=0)(
    jax.tree.map(lambda leaf: leaf.copy(), state), *halves()
  )
  return network, state, after, metrics


def pass_on(network, state, batches):
  """Running statistics after these batches, one after the other."""
  variables = state.variables
  for images in batches:
    _, moved = network.apply(
      variables, images, mode="update", mutable=["batch_stats"]
    )
    variables = {**variables, **moved}
  return jax.tree.leaves(variables["batch_stats"])


def test_the_halves_move_the_running_statistics_one_after_the_other(taken):
  network, state, after, _ = taken
  source, target = (half.image for half in halves())
  found = jax.tree.leaves(after.batch_stats)
  for leaf, want in zip(
    found, pass_on(network, state, (source, target)), strict=True
  ):
    np.testing.assert_allclose(leaf, want, rtol=1e-4, atol=1e-6)
  for other in ((target, source), (np.concatenate([source, target]),)):
    moved = pass_on(network, state, other)
    assert not all(
      np.allclose(leaf, want, rtol=1e-2)
      for leaf, want in zip(found, moved, strict=True)
    )


def test_two_agents_are_enough(taken):
  _, state, after, metrics = taken
  assert all(np.isfinite(value) for value in metrics.values())
  # int(0.3 x 15) pairs of six images.
  assert metrics["mining/pairs"] == 4
  rows = halves()[1].row
  seen = np.asarray(after.memory.seen)
  assert sorted(np.flatnonzero(seen)) == sorted(rows)
  np.testing.assert_allclose(
    after.memory.multilabels.sum(1), seen.astype(float), atol=1e-6
  )
  agents = after.params["classifier"] - state.params["classifier"]
  assert np.all(np.abs(agents).max(0) > 0)


def test_an_empty_memory_can_be_given_up():
  """No two leaves are one array, which cannot be written over twice."""
  leaves = jax.tree.leaves(mar.empty_memory(IMAGES, 3))
  places = [leaf.unsafe_buffer_pointer() for leaf in leaves]
  assert len(set(places)) == len(places)
