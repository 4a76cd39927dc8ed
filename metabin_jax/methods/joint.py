"""The ordinary training step, and with it every end-to-end baseline.

MetaBIN uses it for all parameters but rho. The baselines (BN, IN, half of
each, BIN trained end to end) use nothing else; the last of them lets the same
loss move rho too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from metabin_jax.methods import optim
from metabin_jax.methods.objectives import Objective
from metabin_jax.methods.state import TrainState
from metabin_jax.models import ReIDNetwork
from metabin_jax.ops import collectives

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def make_base_step(
  network: ReIDNetwork,
  objective: Objective,
  tx_params: optax.GradientTransformation,
  rate: optax.Schedule,
  *,
  tx_balance: optax.GradientTransformation | None = None,
  bias_factor: float = 2.0,
  classifier_factor: float = 1.0,
) -> Step:
  """Binds one ordinary update.

  Args:
    network: from `models.create`.
    objective: loss on the batch, see `objectives.make_objective`.
    tx_params: from `optim.make_params_tx`.
    rate: learning rate by iteration.
    tx_balance: optimizer of rho for the end-to-end BIN baselines; None keeps
      rho constant (MetaBIN's base step, and arms without rho).
    bias_factor: learning-rate factor of biases.
    classifier_factor: further learning-rate factor of the classifier.

  Returns:
    step(state, batch) -> (state, metrics), pure and not yet jitted. It moves
    the running statistics and leaves `state.step` alone. `batch` has `image`
    [B, H, W, 3], `pid` [B] and `domain` [B].

  Source: MetaBIN, Eq. 2 (base model updating).
  Differs: the reference takes the gradient of rho from a second backward pass
    after the weights have moved in place; here both gradients are taken at the
    same point.
  """

  def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
    def loss_of(params, balance):
      outputs, moved = network.apply(
        {**state.variables, "params": params, "balance": balance},
        batch.image,
        mode="update",
        mutable=["batch_stats", "aux"],
      )
      outputs = outputs._replace(aux=moved.get("aux", ()))
      total, parts = objective(outputs, batch)
      return total, (parts, moved.get("batch_stats", state.batch_stats))

    argnums = 0 if tx_balance is None else (0, 1)
    (total, (parts, batch_stats)), grads = collectives.value_and_grad(
      loss_of, argnums
    )(state.params, state.balance)
    learning_rate = rate(state.step)
    metrics = {f"loss/{name}": value for name, value in parts.items()}
    metrics |= {"loss/total": total, "lr": learning_rate}
    if tx_balance is not None:
      grads, balance_grads = grads
      updates, opt_balance = tx_balance.update(
        balance_grads, state.opt_balance, state.balance
      )
      balance = optim.project(optax.apply_updates(state.balance, updates))
      state = state.replace(balance=balance, opt_balance=opt_balance)
    params, opt_params = optim.apply_params(
      tx_params,
      grads,
      state.opt_params,
      state.params,
      learning_rate,
      bias_factor,
      classifier_factor,
    )
    state = state.replace(
      params=params, opt_params=opt_params, batch_stats=batch_stats
    )
    return state, metrics

  return step


def make_train_step(base_step: Step) -> Step:
  """One iteration of a baseline: base step and step counter; not yet jitted."""

  def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
    state, metrics = base_step(state, batch)
    return state.replace(step=state.step + 1), metrics

  return step
