"""Method "mar" on several devices computes what it does on one."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
import tiny_run

from metabin_jax import models
from metabin_jax.methods import mar, optim
from metabin_jax.methods import state as train_state
from metabin_jax.ops import cross_view
from metabin_jax.runtime.parallel import RUNNERS, Runner

sys.path.append(str(tiny_run.REPOSITORY / "tests" / "methods"))
import tiny

IMAGES = 24


class Target(NamedTuple):
  image: Any
  row: Any
  view: Any
  pid: Any


def batches(step):
  """Sixteen labelled images and sixteen others, views on all devices."""
  random = np.random.default_rng(step)
  source = tiny.batch(step, (0, 1, 2, 0))
  other = tiny.batch(step + 10, (1, 1, 2, 0))
  rows = random.permutation(IMAGES)[:16].astype(np.int32)
  return source, Target(other.image, rows, rows % 3, other.pid)


def train(kind, count, steps=4):
  network = models.ReIDNetwork(tiny.Backbone("bn"), 6, neck="none")
  variables = models.init_variables(network, jax.random.key(0), 8, 8)
  # Agents of length one: a step then turns them by a little.
  variables["params"]["classifier"] *= 300
  tx = optim.make_params_tx(decay_norms=False)
  state = train_state.create_state(variables, tx, optax.sgd(0.1))
  centers = cross_view.Centers(np.full(6, -2.0, "f4"), np.ones(6, "f4"))
  state = state.replace(memory=mar.create_memory(IMAGES, 0.6, centers))
  step = mar.make_train_step(
    network,
    tx,
    optax.constant_schedule(1e-3),
    mar.Rules(ratio=0.2, source_weight=1.0, view_weight=0.1),
    num_views=3,
    first_mining_step=1,
  )
  runner = Runner(kind, jax.devices()[:count])
  program, state = runner.compile(step), runner.place(state)
  logged = []
  for number in range(steps):
    source, target = (
      type(batch)(*runner.split(tuple(batch))) for batch in batches(number)
    )
    state, metrics = program(state, source, target)
    rows = state.memory.multilabels.addressable_shards[0].data.shape[0]
    # Shared by the devices where the compiler splits the work.
    assert rows == (64 // count if kind == "jit" else 64)
    logged.append({k: float(v) for k, v in jax.device_get(metrics).items()})
  return jax.device_get(state), logged


@pytest.fixture(scope="module")
def alone():
  return train("jit", 1)


@pytest.mark.parametrize("kind", RUNNERS)
def test_four_devices_are_one(alone, kind):
  state, logged = train(kind, 4)
  for step, (one, other) in enumerate(zip(alone[1], logged, strict=True)):
    for name, value in one.items():
      assert other[name] == pytest.approx(value, rel=1e-4, abs=1e-6), (
        step,
        name,
      )
  # Both kinds of pairs are there, and the memory is in use.
  assert any(0 < line["mining/positives"] < 24 for line in logged)
  assert state.memory.seen.sum() > 16
  for (path, want), got in zip(
    jax.tree_util.tree_leaves_with_path(alone[0]),
    jax.tree.leaves(state),
    strict=True,
  ):
    limit = 1e-4 * max(np.abs(want).max(initial=0), 1e-3)
    assert np.abs(np.asarray(got, float) - want).max(initial=0) <= limit, path
