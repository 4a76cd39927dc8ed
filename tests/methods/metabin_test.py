from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from metabin_jax.methods import joint, metabin
from metabin_jax.models import registry


def make_steps(norm="bin", **options):
  """(state, base step, meta step), neither jitted."""
  state, tx, tx_balance = tiny.make_state(norm)
  network = tiny.network(norm)
  rate = optax.constant_schedule(0.05)
  beta = optax.constant_schedule(0.3)
  base = joint.make_base_step(network, tiny.BASE, tx, rate)
  meta = metabin.make_meta_step(
    network, tiny.MTRAIN, tiny.MTEST, tx_balance, beta, **options
  )
  return state, base, meta


BASE_BATCH = tiny.batch(0)
MTRAIN_BATCH = tiny.batch(1, (0, 2))
MTEST_BATCH = tiny.batch(2, (1,))


def test_base_step_leaves_rho_alone():
  state, base, _ = make_steps()
  after, metrics = jax.jit(base)(state, BASE_BATCH)
  tiny.assert_same(after.balance, state.balance)
  tiny.assert_same(after.opt_balance, state.opt_balance)
  tiny.assert_same(after.step, state.step)
  for name in ("params", "batch_stats", "opt_params"):
    assert tiny.differs(getattr(after, name), getattr(state, name)), name
  total = metrics["loss/ce"] + metrics["loss/triplet"]
  np.testing.assert_allclose(metrics["loss/total"], total, rtol=1e-6)


@pytest.mark.parametrize("second_order", [False, True])
def test_meta_step_moves_rho_only(second_order):
  state, _, meta = make_steps(second_order=second_order)
  after, metrics = jax.jit(meta)(state, MTRAIN_BATCH, MTEST_BATCH)
  for name in ("params", "batch_stats", "opt_params", "step"):
    tiny.assert_same(getattr(after, name), getattr(state, name))
  for old, new in zip(
    jax.tree.leaves(state.balance), jax.tree.leaves(after.balance), strict=True
  ):
    assert not np.array_equal(old, new)
    assert np.all((new >= 0) & (new <= 1))
  parts = [metrics[f"mtrain/{n}"] for n in ("shuffle", "triplet", "scatter")]
  np.testing.assert_allclose(metrics["mtrain/total"], sum(parts), rtol=1e-6)
  np.testing.assert_allclose(metrics["beta"], 0.3, rtol=1e-6)
  assert float(metrics["rho/inner_grad_norm"]) > 0
  assert float(metrics["rho/outer_grad_norm"]) > 0


def test_rho_is_projected():
  state, _, _ = tiny.make_state()
  far = metabin.make_meta_step(
    tiny.network(),
    tiny.MTRAIN,
    tiny.MTEST,
    optax.sgd(1e4),
    optax.constant_schedule(0.3),
  )
  after, _ = jax.jit(far)(state, MTRAIN_BATCH, MTEST_BATCH)
  values = np.concatenate(jax.tree.leaves(after.balance))
  assert set(np.unique(values)) == {0.0, 1.0}


def test_both_ways_of_the_second_order_agree():
  results = []
  for way in ("reverse", "forward"):
    state, _, meta = make_steps(second_order=True, second_order_by=way)
    results.append(jax.jit(meta)(state, MTRAIN_BATCH, MTEST_BATCH)[0].balance)
  state, _, meta = make_steps()
  first = jax.jit(meta)(state, MTRAIN_BATCH, MTEST_BATCH)[0].balance
  for a, b in zip(*map(jax.tree.leaves, results), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  assert tiny.differs(first, results[0])


def test_schedules_read_the_iteration():
  state, tx, tx_balance = tiny.make_state()
  state = state.replace(step=jnp.asarray(7, jnp.int32))
  network = tiny.network()
  base = joint.make_base_step(network, tiny.BASE, tx, lambda i: 0.01 * i)
  meta = metabin.make_meta_step(
    network, tiny.MTRAIN, tiny.MTEST, tx_balance, lambda i: 0.1 * i
  )
  _, metrics = jax.jit(base)(state, BASE_BATCH)
  np.testing.assert_allclose(metrics["lr"], 0.07, rtol=1e-6)
  _, metrics = jax.jit(meta)(state, MTRAIN_BATCH, MTEST_BATCH)
  np.testing.assert_allclose(metrics["beta"], 0.7, rtol=1e-6)


def test_train_step_is_base_then_meta_and_counts():
  state, base, meta = make_steps()
  middle, base_metrics = jax.jit(base)(state, BASE_BATCH)
  want, meta_metrics = jax.jit(meta)(middle, MTRAIN_BATCH, MTEST_BATCH)
  step = jax.jit(metabin.make_train_step(base, meta))
  got, metrics = step(state, BASE_BATCH, MTRAIN_BATCH, MTEST_BATCH)
  assert int(got.step) == 1
  assert set(metrics) == set(base_metrics) | set(meta_metrics)
  for name in ("params", "balance", "batch_stats", "opt_params"):
    for a, b in zip(
      jax.tree.leaves(getattr(got, name)),
      jax.tree.leaves(getattr(want, name)),
      strict=True,
    ):
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  again, _ = step(got, BASE_BATCH, MTRAIN_BATCH, MTEST_BATCH)
  assert int(again.step) == 2


@pytest.mark.parametrize("norm", sorted(registry.norms()))
def test_which_arms_have_rho(norm):
  state, _, meta = make_steps(norm)
  if norm in ("bin", "bin_shared"):
    after, _ = jax.eval_shape(meta, state, MTRAIN_BATCH, MTEST_BATCH)
    assert jax.tree.leaves(after.balance)
    return
  with pytest.raises(ValueError, match="the network has no rho; use norm"):
    meta(state, MTRAIN_BATCH, MTEST_BATCH)


def count(step, primitive, *args):
  """Equations of a primitive in a step, at any depth."""

  def walk(jaxpr):
    found = 0
    for equation in jaxpr.eqns:
      found += equation.primitive.name == primitive
      inner = jax.tree.leaves(
        equation.params, is_leaf=lambda value: hasattr(value, "eqns")
      )
      found += sum(walk(value) for value in inner if hasattr(value, "eqns"))
    return found

  return walk(jax.make_jaxpr(step)(*args))


def test_meta_passes_have_no_gradients_of_weights():
  state, base, meta = make_steps()
  name = "conv_general_dilated"
  # Two layers, forward; and the gradient of what lies between them.
  meta_pass = 2 + 1
  assert count(meta, name, state, MTRAIN_BATCH, MTEST_BATCH) == 2 * meta_pass
  weights = 2
  assert count(base, name, state, BASE_BATCH) == meta_pass + weights
