"""MLDG: the meta step moves every parameter, rho included.

  theta' = theta - s grad F(theta),  G = grad_theta [F(theta) +] L(theta')

F is the meta-train loss, L the meta-test loss, theta all of `params` and
`balance`, and s the learning rate that each of them has at this iteration,
times a ratio. F enters G if the step is combined. G then goes through the
optimizers of the base step: one more update, of the same momentum.

MetaBIN without episode separation is this step, not combined, after a base step
that moves rho too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from metabin_jax.methods import meta_gradient, metabin, optim
from metabin_jax.methods.objectives import Objective
from metabin_jax.methods.state import TrainState
from metabin_jax.models import ReIDNetwork
from metabin_jax.ops import collectives

PyTree = Any
TrainStep = Callable[
  [TrainState, Any, Any], tuple[TrainState, dict[str, jax.Array]]
]


def make_meta_step(
  network: ReIDNetwork,
  mtrain_objective: Objective,
  mtest_objective: Objective,
  tx_params: optax.GradientTransformation,
  rate: optax.Schedule,
  tx_balance: optax.GradientTransformation,
  rho_lr: float,
  ratio: optax.Schedule,
  *,
  second_order: bool = False,
  combined: bool = True,
  update_statistics: bool = False,
  bias_factor: float = 2.0,
  classifier_factor: float = 1.0,
) -> metabin.MetaStep:
  """Binds one meta update of all parameters.

  Args:
    network: from `models.create`, any norm arm.
    mtrain_objective: loss that drives the inner step.
    mtest_objective: loss after the inner step.
    tx_params: from `optim.make_params_tx`, that of the base step.
    rate: learning rate by iteration, that of the base step.
    tx_balance: optimizer of rho.
    rho_lr: its learning rate, above 0; used by the inner step.
    ratio: inner step over learning rate, by iteration.
    second_order: differentiate through the inner gradient (reverse mode).
    combined: the meta-train loss joins the outer loss.
    update_statistics: the meta-train pass moves the running statistics, which
      is for training without a base step.
    bias_factor: learning-rate factor of biases.
    classifier_factor: further factor of the classifier.

  Returns:
    step(state, mtrain, mtest) -> (state, metrics), pure and not yet jitted.
    Both batches have `image`, `pid`, `domain`; both passes normalize by their
    own moments. The counter `state.step` stays.

  Source: Li et al., Learning to Generalize, Algorithm 1 (F + L, theta');
    reference engine/train_loop.py, `run_step_meta_learning1` with `ALL_PARAMS`
    (step sizes, optimizers), `COMBINED`.
  Differs: the reference takes the gradient of rho from a second backward pass
    after the weights have moved in place, and under mixed precision divides F
    by the loss scale; here neither. Values of rho' are clipped to [0, 1] and
    derivatives are not, as in MetaBIN.
  """

  def step(
    state: TrainState, mtrain: Any, mtest: Any
  ) -> tuple[TrainState, metabin.Metrics]:
    learning_rate, inner_ratio = rate(state.step), ratio(state.step)
    factors = optim.rate_factors(state.params, bias_factor, classifier_factor)

    def variables(theta):
      params, balance = theta
      return {**state.variables, "params": params, "balance": balance}

    def mtrain_loss(theta):
      outputs: Any
      outputs, moved = network.apply(
        variables(theta),
        mtrain.image,
        mode="update" if update_statistics else "hold",
        mutable=["batch_stats"] if update_statistics else [],
      )
      total, parts = mtrain_objective(outputs, mtrain)
      return total, (parts, moved.get("batch_stats", state.batch_stats))

    def mtest_loss(theta):
      outputs: Any = network.apply(variables(theta), mtest.image, mode="hold")
      return mtest_objective(outputs, mtest)

    def adapt(theta, gradient):
      params, balance = theta
      params = _adapt_params(
        params, gradient[0], learning_rate * inner_ratio, factors
      )
      balance = meta_gradient.adapt(
        balance,
        gradient[1],
        jnp.asarray(rho_lr * inner_ratio),
        second_order=second_order,
      )
      return params, balance

    def through(theta):
      (total, aux), gradient = collectives.value_and_grad(mtrain_loss)(theta)
      loss, parts = mtest_loss(adapt(theta, gradient))
      return loss, (total, aux, gradient, parts)

    theta = (state.params, state.balance)
    if second_order:
      (mtest_total, details), outer = collectives.value_and_grad(through)(theta)
      mtrain_total, (mtrain_parts, batch_stats), inner, mtest_parts = details
    else:
      (mtrain_total, (mtrain_parts, batch_stats)), inner = (
        collectives.value_and_grad(mtrain_loss)(theta)
      )
      # The inner gradient is a constant: the slope at theta' is the gradient.
      (mtest_total, mtest_parts), outer = collectives.value_and_grad(
        mtest_loss
      )(adapt(theta, inner))
    if combined:
      outer = jax.tree.map(jnp.add, outer, inner)
    params, opt_params = optim.apply_params(
      tx_params,
      outer[0],
      state.opt_params,
      state.params,
      learning_rate,
      bias_factor,
      classifier_factor,
    )
    updates, opt_balance = tx_balance.update(
      outer[1], state.opt_balance, state.balance
    )
    metrics = {"lr": learning_rate, "inner_ratio": inner_ratio}
    for phase, total, parts in (
      ("mtrain", mtrain_total, mtrain_parts),
      ("mtest", mtest_total, mtest_parts),
    ):
      metrics |= {f"{phase}/{name}": value for name, value in parts.items()}
      metrics[f"{phase}/total"] = total
    metrics["inner_grad_norm"] = optax.tree.norm(inner)
    metrics["outer_grad_norm"] = optax.tree.norm(outer)
    state = state.replace(
      params=params,
      balance=optim.project(optax.apply_updates(state.balance, updates)),
      batch_stats=batch_stats,
      opt_params=opt_params,
      opt_balance=opt_balance,
    )
    return state, metrics

  return step


def make_train_step(meta_step: metabin.MetaStep) -> TrainStep:
  """One iteration without a base step; not yet jitted.

  With a base step, `metabin.make_train_step` joins the two.

  Args:
    meta_step: from `make_meta_step`.

  Returns:
    step(state, mtrain, mtest) -> (state, metrics), pure.
  """

  def step(state, mtrain, mtest):
    state, metrics = meta_step(state, mtrain, mtest)
    return state.replace(step=state.step + 1), metrics

  return step


def _adapt_params(params, gradient, size, factors):
  """One inner SGD step, of size 0 for frozen parameters."""

  def move(p, g, factor):
    return p - jnp.asarray(size * factor, p.dtype) * g

  return jax.tree.map(move, params, gradient, factors)
