from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from jax.flatten_util import ravel_pytree
from tiny_mldg import (
  MTEST_BATCH,
  MTRAIN,
  MTRAIN_BATCH,
  RATE,
  RHO_LR,
  keep_gradient,
  make_step,
  run,
)

from metabin_jax.methods import joint, metabin, mldg, objectives, optim
from metabin_jax.methods import state as train_state
from metabin_jax.models import registry


@pytest.mark.parametrize(
  ("second_order", "combined"),
  [
    (False, False),
    (True, True),
    pytest.param(False, True, marks=pytest.mark.slow),
    pytest.param(True, False, marks=pytest.mark.slow),
  ],
)
def test_one_more_update_of_the_same_optimizers(second_order, combined):
  state, tx_params, tx_balance = tiny.make_state(rate=RHO_LR)
  random = np.random.default_rng(0)
  state = state.replace(  # momentum, as a base step leaves it
    opt_params=jax.tree.map(
      lambda leaf: jnp.asarray(random.normal(0, 0.1, leaf.shape), leaf.dtype),
      state.opt_params,
    )
  )
  options = {"second_order": second_order, "combined": combined}
  _, after, metrics = run(state=state, **options)
  kept = train_state.create_state(
    state.variables, keep_gradient(), keep_gradient()
  )
  txs = (keep_gradient(), keep_gradient())
  _, grads, _ = run(state=kept, txs=txs, **options)
  params, opt_params = optim.apply_params(
    tx_params, grads.opt_params, state.opt_params, state.params, RATE
  )
  updates, _ = tx_balance.update(grads.opt_balance, state.opt_balance)
  balance = optim.project(optax.apply_updates(state.balance, updates))
  for got, want in (
    (after.params, params),
    (after.opt_params, opt_params),
    (after.balance, balance),
  ):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  for name in ("params", "balance", "opt_params"):
    assert tiny.differs(getattr(after, name), getattr(state, name)), name
  for name in ("batch_stats", "step"):
    tiny.assert_same(getattr(after, name), getattr(state, name))
  norm = optax.tree.norm((grads.opt_params, grads.opt_balance))
  np.testing.assert_allclose(metrics["outer_grad_norm"], norm, rtol=1e-4)
  tiny.assert_same(
    after.params["neck"]["bn_bias"], state.params["neck"]["bn_bias"]
  )


def test_factors_of_the_learning_rate_reach_both_steps():
  state, _, _ = tiny.make_state()

  def moved(**options):
    _, after, metrics = run(state=state, **options)
    change = jax.tree.map(lambda a, b: a - b, after.params, state.params)
    return change, float(metrics["mtest/total"])

  plain, loss = moved(ratio=0.0)
  for options, name in (
    ({"bias_factor": 6.0}, "bn_bias"),
    ({"classifier_factor": 3.0}, "classifier"),
  ):
    changed, _ = moved(ratio=0.0, **options)
    for path, got in jax.tree_util.tree_leaves_with_path(changed):
      keys = [entry.key for entry in path]
      want = functools.reduce(lambda tree, key: tree[key], keys, plain)
      frozen = keys == ["neck", "bn_bias"]
      factor = 3 if name == keys[-1] or keys[-1] == f"in_{name[3:]}" else 1
      factor = 0 if frozen else factor
      np.testing.assert_allclose(got, factor * want, rtol=1e-3, atol=1e-5)
  # The inner step is another one too.
  mtest = objectives.make_objective(("ce", "triplet"))
  default = moved(mtest=mtest)[1]
  assert default != pytest.approx(loss, rel=1e-3)
  for options in ({"bias_factor": 60.0}, {"classifier_factor": 30.0}):
    assert moved(mtest=mtest, **options)[1] != pytest.approx(default, rel=1e-4)


def test_meta_test_sees_clipped_rho():
  # Only rho takes an inner step here, a far one.
  state, _, _ = tiny.make_state()
  _, after, metrics = run(state=state, rate=0.0, rho_lr=1e6)
  tiny.assert_same(after.params, state.params)
  # The outer step is far too.
  assert set(np.unique(ravel_pytree(after.balance)[0])) == {0.0, 1.0}

  def inner(balance):
    outputs = tiny.network().apply(
      {**state.variables, "balance": balance}, MTRAIN_BATCH.image, mode="hold"
    )
    return MTRAIN(outputs, MTRAIN_BATCH)[0]

  slope = jax.jit(jax.grad(inner))(state.balance)
  ends = jax.tree.map(lambda g: jnp.where(g > 0, 0.0, 1.0), slope)
  outputs = tiny.network().apply(
    {**state.variables, "balance": ends}, MTEST_BATCH.image, mode="hold"
  )
  want, _ = tiny.MTEST(outputs, MTEST_BATCH)
  np.testing.assert_allclose(metrics["mtest/total"], want, rtol=1e-4)


@pytest.mark.parametrize("second_order", [False, True])
def test_statistics_move_only_when_asked_to(second_order):
  options = {"second_order": second_order}
  state, held, quiet = run(**options)
  _, after, metrics = run(update_statistics=True, **options)
  tiny.assert_same(held.batch_stats, state.batch_stats)
  _, moved = tiny.network().apply(
    state.variables, MTRAIN_BATCH.image, mode="update", mutable=["batch_stats"]
  )
  assert tiny.differs(after.batch_stats, state.batch_stats)
  for a, b in zip(
    *map(jax.tree.leaves, (after.batch_stats, moved["batch_stats"])),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  # Both modes normalize by the moments of the batch.
  for name in quiet:
    np.testing.assert_allclose(metrics[name], quiet[name], rtol=1e-3)
  for a, b in zip(
    *map(jax.tree.leaves, (after.params, held.params)), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_metrics_have_the_names_of_metabin():
  state, _, metrics = run()
  assert set(metrics) == {
    "lr",
    "inner_ratio",
    "mtrain/ce",
    "mtrain/triplet",
    "mtrain/total",
    "mtest/triplet",
    "mtest/total",
    "inner_grad_norm",
    "outer_grad_norm",
  }
  outputs = tiny.network().apply(
    state.variables, MTRAIN_BATCH.image, mode="hold"
  )
  total, parts = MTRAIN(outputs, MTRAIN_BATCH)
  np.testing.assert_allclose(metrics["mtrain/total"], total, rtol=1e-5)
  np.testing.assert_allclose(metrics["mtrain/ce"], parts["ce"], rtol=1e-5)
  # The inner gradient alone is left of a combined one without meta-test loss.
  none = objectives.make_objective(("triplet",), weights={"triplet": 0.0})
  _, _, alone = run(mtest=none)
  np.testing.assert_allclose(
    alone["outer_grad_norm"], metrics["inner_grad_norm"], rtol=1e-4
  )


def test_schedules_read_the_iteration():
  state, tx_params, tx_balance = tiny.make_state()
  step = mldg.make_meta_step(
    tiny.network(),
    MTRAIN,
    tiny.MTEST,
    tx_params,
    lambda i: 0.01 * i,
    tx_balance,
    RHO_LR,
    lambda i: 0.1 * i,
  )
  state = state.replace(step=jnp.asarray(7, jnp.int32))
  _, metrics = jax.jit(step)(state, MTRAIN_BATCH, MTEST_BATCH)
  np.testing.assert_allclose(metrics["lr"], 0.07, rtol=1e-6)
  np.testing.assert_allclose(metrics["inner_ratio"], 0.7, rtol=1e-6)
  _, _, want = run(rate=0.07, ratio=0.7)
  np.testing.assert_allclose(
    metrics["mtest/total"], want["mtest/total"], rtol=1e-4
  )


def test_without_episode_separation():
  # The losses of MetaBIN: the classifier has no gradient, and yet decays.
  state, after, _ = run(mtrain=tiny.MTRAIN, combined=False)
  np.testing.assert_allclose(
    after.params["classifier"],
    (1 - 5e-4 * RATE) * state.params["classifier"],
    rtol=1e-6,
  )
  for name in ("conv0", "norm0", "conv1", "norm1"):
    assert tiny.differs(
      after.params["backbone"][name], state.params["backbone"][name]
    )
  assert tiny.differs(after.balance, state.balance)
  # A second update carries the momentum of the first.
  _, again, _ = run(state=after, mtrain=tiny.MTRAIN, combined=False)
  first = after.params["classifier"] - state.params["classifier"]
  second = again.params["classifier"] - after.params["classifier"]
  np.testing.assert_allclose(second, 1.9 * first, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("norm", sorted(registry.norms()))
def test_every_arm_keeps_the_form_of_its_state(norm):
  state, _, _ = tiny.make_state(norm)
  for second_order in (False, True):
    step = make_step(norm, second_order=second_order, update_statistics=True)
    after, _ = jax.eval_shape(step, state, MTRAIN_BATCH, MTEST_BATCH)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for a, b in zip(*map(jax.tree.leaves, (after, state)), strict=True):
      assert (a.shape, a.dtype) == (b.shape, b.dtype)


@pytest.mark.parametrize("norm", ["bn", "in"])
def test_arms_without_rho_learn(norm):
  state, _, _ = tiny.make_state(norm)
  step = make_step(norm, rate=0.05)
  losses = []
  for _ in range(8):
    state, metrics = step(state, MTRAIN_BATCH, MTEST_BATCH)
    losses.append(float(metrics["mtrain/total"]))
  assert losses[-1] < losses[0]


def test_an_iteration_without_base_step():
  state, want, metrics = run(update_statistics=True)
  step = jax.jit(mldg.make_train_step(make_step(update_statistics=True)))
  got, found = step(state, MTRAIN_BATCH, MTEST_BATCH)
  assert set(found) == set(metrics)
  assert int(got.step) == 1
  for a, b in zip(
    *map(jax.tree.leaves, (got.variables, want.variables)), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  again, _ = step(got, MTRAIN_BATCH, MTEST_BATCH)
  assert int(again.step) == 2


def test_an_iteration_with_base_step():
  state, tx_params, tx_balance = tiny.make_state(rate=RHO_LR)
  base = joint.make_base_step(
    tiny.network(),
    tiny.BASE,
    tx_params,
    optax.constant_schedule(RATE),
    tx_balance=tx_balance,
  )
  middle, base_metrics = jax.jit(base)(state, tiny.batch(0))
  _, want, meta_metrics = run(state=middle)
  step = jax.jit(metabin.make_train_step(base, make_step()))
  got, metrics = step(state, tiny.batch(0), MTRAIN_BATCH, MTEST_BATCH)
  assert int(got.step) == 1
  assert set(metrics) == set(base_metrics) | set(meta_metrics)
  for a, b in zip(
    *map(jax.tree.leaves, (got.variables, want.variables)), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
