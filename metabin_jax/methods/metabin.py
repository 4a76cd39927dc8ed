"""MetaBIN: base step and meta step in alternation.

base step   gradient of the base loss with respect to `params`; running
            statistics move; `balance` is a constant
meta step   inner step on `balance` by the meta-train loss, outer step by the
            meta-test loss; `params` and running statistics are constants
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from metabin_jax.methods import joint, optim
from metabin_jax.methods import meta_gradient as mg
from metabin_jax.methods.objectives import Objective
from metabin_jax.methods.state import TrainState
from metabin_jax.models import ReIDNetwork

Metrics = dict[str, jax.Array]
MetaStep = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
TrainStep = Callable[[TrainState, Any, Any, Any], tuple[TrainState, Metrics]]


def make_meta_step(
  network: ReIDNetwork,
  mtrain_objective: Objective,
  mtest_objective: Objective,
  tx_balance: optax.GradientTransformation,
  beta: optax.Schedule,
  *,
  second_order: bool = False,
  second_order_by: str = "reverse",
) -> MetaStep:
  """Binds one meta update of rho.

  Args:
    network: from `models.create`, with a norm arm that has rho.
    mtrain_objective: loss that drives the inner step.
    mtest_objective: loss that drives the outer step.
    tx_balance: optimizer of rho.
    beta: inner step size by iteration.
    second_order: differentiate through the inner gradient.
    second_order_by: "reverse" or "forward", see `meta_gradient`; the same
      numbers at another price.

  Returns:
    step(state, mtrain, mtest) -> (state, metrics), pure and not yet jitted.
    Both batches have `image`, `pid`, `domain`. Only `balance` and its
    optimizer change.

  Raises:
    ValueError: when called on a state without rho.

  Source: MetaBIN, Eqs. 3 to 8 and Algorithm 1; reference
    engine/train_loop.py, `run_step_meta_learning1`.
  """
  order = second_order_by if second_order else "first"

  def step(
    state: TrainState, mtrain: Any, mtest: Any
  ) -> tuple[TrainState, Metrics]:
    if not jax.tree.leaves(state.balance):
      raise ValueError("the network has no rho; use norm 'bin' or 'bin_shared'")

    def loss_on(batch, objective):
      def loss_of(balance):
        outputs = network.apply(
          {**state.variables, "balance": balance}, batch.image, mode="hold"
        )
        return objective(outputs, batch)

      return loss_of

    step_size = beta(state.step)
    gradient, details = mg.meta_gradient(
      loss_on(mtrain, mtrain_objective),
      loss_on(mtest, mtest_objective),
      state.balance,
      jax.numpy.asarray(step_size),
      order=order,
    )
    updates, opt_balance = tx_balance.update(
      gradient, state.opt_balance, state.balance
    )
    balance = optim.project(optax.apply_updates(state.balance, updates))
    metrics = {"beta": step_size}
    for phase in ("mtrain", "mtest"):
      total, parts = details[phase]
      metrics |= {f"{phase}/{name}": value for name, value in parts.items()}
      metrics[f"{phase}/total"] = total
    metrics["rho/inner_grad_norm"] = optax.tree.norm(details["inner_gradient"])
    metrics["rho/outer_grad_norm"] = optax.tree.norm(gradient)
    return state.replace(balance=balance, opt_balance=opt_balance), metrics

  return step


def make_train_step(base_step: joint.Step, meta_step: MetaStep) -> TrainStep:
  """One iteration: base step, meta step, step counter; not yet jitted.

  Args:
    base_step: from `joint.make_base_step`.
    meta_step: from `make_meta_step`.

  Returns:
    step(state, base, mtrain, mtest) -> (state, metrics), pure.
  """

  def step(state, base, mtrain, mtest):
    state, metrics = base_step(state, base)
    state, meta_metrics = meta_step(state, mtrain, mtest)
    return state.replace(step=state.step + 1), metrics | meta_metrics

  return step
