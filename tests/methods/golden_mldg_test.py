"""The reference's own MLDG iterations, replayed in float64.

One base update and one meta update of ResNet-18, cross entropy and triplet
loss in all three phases, inner step = learning rate x 1. Convolutions are
traced as matrix products (tests/golden/convolution.py).

With rho, the reference takes one of its two gradients from a graph whose leaves
have moved in place: that of the weights in the base update (after rho), that of
rho in the meta update (after the weights). Ours are taken at one point; the
stale ones are imitated (tests/golden/stale_graph.py), so that all is compared
to the last digit.
"""

from __future__ import annotations

import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import rules, stale_graph, training
from jax.flatten_util import ravel_pytree

from metabin_jax.interop import official
from metabin_jax.methods import (
  joint,
  meta_gradient,
  mldg,
  objectives,
  optim,
)
from metabin_jax.methods import state as train_state

pytestmark = pytest.mark.usefixtures("float64")
LOSSES = ("ce", "triplet")
RATE, RHO_LR = 0.01, 0.1
LIMIT = 1e-9
SLOW = pytest.mark.slow


def transforms():
  return optim.make_params_tx(weight_decay=training.DECAY), optax.sgd(RHO_LR)


def recording(tx):
  """The optimizer of rho, and what it was last given and made of it."""
  seen = {}

  def update(grads, opt_state, rho):
    updates, opt_state = tx.update(grads, opt_state, rho)
    seen["gradient"] = grads
    seen["moved"] = optim.project(optax.apply_updates(rho, updates))
    seen["rho"] = rho
    return updates, opt_state

  return optax.GradientTransformation(tx.init, update), seen


def base_step(norm):
  """Jitted (state, batch) -> (state, metrics), stale where the reference is."""
  tx_params, tx_balance = transforms()
  tx_balance, seen = recording(tx_balance)
  apply = optim.apply_params

  def apply_stale(tx, grads, opt_state, params, *rest):
    grads = stale_graph.with_stale_rho(grads, params, seen) if seen else grads
    return apply(tx, grads, opt_state, params, *rest)

  def step(state, batch):
    with (
      training.fast_convolutions(),
      mock.patch.object(optim, "apply_params", apply_stale),
    ):
      return joint.make_base_step(
        training.create("resnet18", norm),
        objectives.make_objective(LOSSES),
        tx_params,
        lambda _: jnp.asarray(RATE),
        tx_balance=tx_balance if norm == "bin_shared" else None,
      )(state, batch)

  return jax.jit(step, compiler_options=training.QUICK)


def meta_step(norm, second_order, combined):
  """Jitted (state, mtrain, mtest) -> (state, metrics, inner gradient, sizes).

  The last two hold `params` and `balance`; in second order they are empty,
  being inside of what is differentiated.
  """
  tx_params, tx_balance = transforms()
  objective = objectives.make_objective(LOSSES)
  adapt_params, adapt_rho = mldg._adapt_params, meta_gradient.adapt

  def step(state, mtrain, mtest):
    inner, sizes = {}, {}

    def record_params(params, gradient, size, factors):
      if not second_order:
        inner["params"] = gradient
        sizes["params"] = jax.tree.map(lambda factor: size * factor, factors)
      return adapt_params(params, gradient, size, factors)

    def record_rho(balance, gradient, size, **options):
      if not second_order:
        inner["balance"] = gradient
        sizes["balance"] = jax.tree.map(lambda _: size, balance)
      return adapt_rho(balance, gradient, size, **options)

    with (
      training.fast_convolutions(),
      mock.patch.object(mldg, "_adapt_params", record_params),
      mock.patch.object(meta_gradient, "adapt", record_rho),
    ):
      state, metrics = mldg.make_meta_step(
        training.create("resnet18", norm),
        objective,
        objective,
        tx_params,
        lambda _: jnp.asarray(RATE),
        tx_balance,
        RHO_LR,
        lambda _: jnp.asarray(1.0),
        second_order=second_order,
        combined=combined,
      )(state, mtrain, mtest)
    return state, metrics, inner, sizes

  return jax.jit(step, compiler_options=training.QUICK)


@pytest.mark.parametrize(
  ("variant", "second_order", "combined"),
  [
    ("BN_firstorder_mtest_only", False, False),
    pytest.param("BN_combined_secondgraph_stopgrad", False, True, marks=SLOW),
    pytest.param("BN_combined_secondorder", True, True, marks=SLOW),
    pytest.param("BIN1_combined_secondgraph_stopgrad", False, True, marks=SLOW),
  ],
)
def test_one_iteration_of_resnet18(agree, variant, second_order, combined):
  title, arm = f"one mldg iteration resnet18 {variant}", variant.split("_")[0]
  norm = {"BN": "bn", "BIN1": "bin_shared"}[arm]
  with rules.load("i_mldg.npz") as file:
    golden = {
      key.removeprefix(f"mldg/{variant}/"): file[key] for key in file.files
    }
  state = train_state.create_state(
    training.variables("resnet18", norm), *transforms()
  )
  state, base = base_step(norm)(state, rules.training_batch("base0"))
  batch = rules.training_batch("meta0")
  is_mtrain = np.isin(batch.domain, golden["fwd1_domains"])
  mtrain, mtest = batch.rows(is_mtrain), batch.rows(~is_mtrain)
  after_base = state
  state, meta, inner, sizes = meta_step(norm, second_order, combined)(
    state, mtrain, mtest
  )
  for i, (metrics, phase) in enumerate(
    [(base, "loss"), (meta, "mtrain"), (meta, "mtest")]
  ):
    error = training.loss_errors(metrics, phase, LOSSES, golden[f"fwd{i}_loss"])
    agree(f"{title}: losses", error, LIMIT)
  got = official.to_official(state.variables, norm)
  weights = [
    not name.endswith(".gate") for name in golden[f"{arm}/state_names"]
  ]
  error = training.summary_errors(
    got,
    golden[f"{arm}/state_names"][weights],
    golden["state_final_summary"][weights],
  )
  agree(f"{title}: state", error, LIMIT)
  if norm == "bin_shared":
    states = after_base, state
    _compare_rho(agree, title, states, inner, mtrain, golden)
  if not second_order:
    _compare_inner(agree, title, norm, arm, inner, sizes, golden)


def _compare_rho(agree, title, states, inner, mtrain, golden):
  after_base, after_meta = states
  stale = stale_graph.rho_gradient(
    after_base, after_meta.params, mtrain, objectives.make_objective(LOSSES)
  )
  # Ours less our gradient of the meta-train loss, plus the reference's.
  balance = jax.tree.map(
    lambda rho, ours, theirs: rho + RHO_LR * (ours - theirs),
    after_meta.balance,
    inner["balance"],
    stale,
  )
  start = rules.state_dict("resnet18", "bin_shared")
  order = [str(k) for k in golden["BIN1/state_names"] if k.endswith(".gate")]
  rho = training.flat_rho(balance, order, "bin_shared")
  origin = np.concatenate([start[key] for key in order])
  every = int(golden["rho_every"])
  error = rules.relative_error(
    (rho - origin)[::every], golden["gates_final"] - origin[::every]
  )
  agree(f"{title}: rho change", error, LIMIT)
  length = golden["gates_final_norm"]
  agree(f"{title}: rho norm", abs(np.linalg.norm(rho) / length - 1), LIMIT)
  assert (
    rules.relative_error(
      ravel_pytree(stale)[0], ravel_pytree(inner["balance"])[0]
    )
    > 1e-2
  ), "the stale graph would not matter"


def _compare_inner(agree, title, norm, arm, inner, sizes, golden):
  names = golden[f"{arm}/inner_names"]
  error = training.summary_errors(
    official.to_official(inner, norm),
    names,
    golden["inner_grad_summary"],
    floor=1e-6,
  )
  agree(f"{title}: inner gradient", error, LIMIT)
  found = {
    official.official_key(tuple(entry.key for entry in path), norm): float(size)
    for tree in sizes.values()
    for path, size in jax.tree_util.tree_leaves_with_path(tree)
  }
  for name, size in zip(names, golden["inner_step_size"], strict=True):
    assert found.pop(str(name)) == pytest.approx(size, rel=1e-12), name
  assert found == {"heads.classifier_norm.bias": 0.0}


def test_the_golden_variants_differ():
  # Else the comparisons above could not tell the options apart.
  with rules.load("i_mldg.npz") as file:
    states = [
      file[f"mldg/{name}/state_final_summary"]
      for name in (
        "BN_firstorder_mtest_only",
        "BN_combined_secondgraph_stopgrad",
        "BN_combined_secondorder",
      )
    ]
  for one, other in itertools.pairwise(states):
    assert np.max(np.abs(one - other)) > 1e-4
