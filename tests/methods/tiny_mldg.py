"""MLDG's step on the network and batches of tiny.py."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax
import tiny

from metabin_jax.methods import mldg, objectives, optim

MTRAIN_BATCH = tiny.batch(1, (0, 2))
MTEST_BATCH = tiny.batch(2, (1,))
MTRAIN = objectives.make_objective(("ce", "triplet"))
RATE, RATIO, RHO_LR = 0.2, 0.5, 0.3


@functools.cache
def make_step(
  norm="bin",
  *,
  txs=None,
  rate=RATE,
  rho_lr=RHO_LR,
  ratio=RATIO,
  mtrain=MTRAIN,
  mtest=tiny.MTEST,
  dtype=jnp.float32,
  **options,
):
  """Jitted step; optimizers are those of `tiny.make_state` unless given."""
  tx_params, tx_balance = txs or (optim.make_params_tx(), optax.sgd(rho_lr))
  step = mldg.make_meta_step(
    tiny.network(norm, dtype),
    mtrain,
    mtest,
    tx_params,
    optax.constant_schedule(rate),
    tx_balance,
    rho_lr,
    optax.constant_schedule(ratio),
    **options,
  )
  return jax.jit(step)


def run(norm="bin", state=None, **options):
  """(state before, state after, metrics) of one step."""
  if state is None:
    state, _, _ = tiny.make_state(norm)
  step = make_step(norm, **options)
  return state, *step(state, MTRAIN_BATCH, MTEST_BATCH)


def keep_gradient():
  """An optimizer that moves nothing and whose state is the last gradient."""
  return optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda grads, _, params: (jax.tree.map(jnp.zeros_like, params), grads),
  )
