"""The first epochs: the classifier moves, everything else waits."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
import tiny

from metabin_jax.methods import classifier_only, joint, optim
from metabin_jax.methods import state as train_state

RATE = optax.constant_schedule(0.05)
OPTIMIZERS = [
  {},
  {"nesterov": True},
  {"optimizer": "amsgrad"},
]


def make(options, steps=3):
  """(state, staged iteration, plain base step)."""
  tx, tx_balance = optim.make_params_tx(**options), optax.sgd(0.1)
  state = train_state.create_state(tiny.variables(), tx, tx_balance)
  base = joint.make_base_step(
    tiny.network(), tiny.BASE, tx, RATE, tx_balance=tx_balance
  )
  first = classifier_only.make_classifier_step(
    tiny.network(), tiny.BASE, tx, RATE, classifier_factor=3.0
  )
  staged = classifier_only.make_staged_step(first, base, steps)
  return state, jax.jit(joint.make_train_step(staged)), jax.jit(base)


def others(tree):
  """The leaves that do not belong to the classifier, by path."""
  found = jax.tree_util.tree_leaves_with_path(tree)
  return {
    str(path): leaf for path, leaf in found if "classifier" not in str(path)
  }


@pytest.mark.parametrize("options", OPTIMIZERS)
def test_two_stages(options):
  start, step, base = make(options)
  state = start
  losses = []
  for i in range(3):
    state, metrics = step(state, tiny.batch())
    losses.append(float(metrics["loss/ce"]))
    assert set(metrics) == {"loss/ce", "loss/triplet", "loss/total", "lr"}
    for name in ("params", "balance", "batch_stats", "opt_params"):
      before, after = (others(getattr(s, name)) for s in (start, state))
      tiny.assert_same(before, after)
    assert int(state.step) == i + 1
  assert losses[2] < losses[1] < losses[0]
  assert tiny.differs(state.params["classifier"], start.params["classifier"])
  # From here on it is the ordinary step.
  want, _ = base(state, tiny.batch())
  state, _ = step(state, tiny.batch())
  for name in ("params", "balance", "batch_stats"):
    for a, b in zip(
      *(jax.tree.leaves(getattr(s, name)) for s in (state, want)), strict=True
    ):
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  assert tiny.differs(state.params["backbone"], start.params["backbone"])
  assert tiny.differs(state.balance, start.balance)
  assert tiny.differs(state.batch_stats, start.batch_stats)


@pytest.mark.parametrize("options", OPTIMIZERS)
def test_the_classifier_under_a_constant_embedding(options, float64):
  """By the optimizer alone, with gradients of the eval-mode embedding."""
  tx = optim.make_params_tx(**options)
  values = tiny.variables(dtype=np.float64)
  network, batch = tiny.network(dtype=np.float64), tiny.batch()
  state = train_state.create_state(values, tx, optax.identity())
  step = jax.jit(
    classifier_only.make_classifier_step(
      network, tiny.BASE, tx, lambda i: 0.05, classifier_factor=3.0
    )
  )

  @jax.jit
  def gradient(classifier):
    params = {**values["params"], "classifier": classifier}
    outputs = network.apply(
      {**values, "params": params}, batch.image, mode="eval"
    )
    return tiny.BASE(outputs, batch)[0]

  want = values["params"]["classifier"]
  opt_state = tx.init(want)
  for _ in range(3):
    state, _ = step(state, batch)
    grads = jax.grad(gradient)(want)
    updates, opt_state = tx.update(grads, opt_state, want)
    want = want - 0.15 * updates
  np.testing.assert_allclose(state.params["classifier"], want, rtol=1e-10)


def test_a_parameter_that_is_opened_starts_at_its_first_update():
  """PyTorch counts the updates of each parameter, not those of the run."""
  state, step, _ = make({"optimizer": "amsgrad"})
  for _ in range(4):
    state, _ = step(state, tiny.batch())
  counts = state.opt_params[1].count
  assert int(counts["classifier"]) == 4
  assert int(counts["backbone"]["conv0"]["kernel"]) == 1
