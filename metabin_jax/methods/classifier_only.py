"""First iterations that train the classifier alone.

A classifier that starts from random numbers under a trained backbone would
first send it gradients of no use; so it gets some epochs of its own.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from metabin_jax.methods import optim
from metabin_jax.methods.joint import Metrics, Step
from metabin_jax.methods.objectives import Objective
from metabin_jax.methods.state import TrainState
from metabin_jax.models import ReIDNetwork
from metabin_jax.ops import collectives


def make_classifier_step(
  network: ReIDNetwork,
  objective: Objective,
  tx_params: optax.GradientTransformation,
  rate: optax.Schedule,
  *,
  bias_factor: float = 2.0,
  classifier_factor: float = 1.0,
) -> Step:
  """Binds an update of the classifier under a network that stands still.

  The network runs in mode "eval": it normalizes by its running statistics,
  which stay as they are.

  Args:
    network: from `models.create`.
    objective: loss on the batch.
    tx_params: from `optim.make_params_tx`.
    rate: learning rate by iteration.
    bias_factor: learning-rate factor of biases.
    classifier_factor: further learning-rate factor of the classifier.

  Returns:
    step(state, batch) -> (state, metrics) like `joint.make_base_step`'s. All
    but the classifier and what the optimizer keeps for it are bit-identical
    afterwards: neither weight decay nor momentum touches them.

  Source: torchreid, `two_stepped_transfer_learning`: `open_specified_layers`
    puts all other modules into evaluation mode and takes their gradients away.
  """

  def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
    def loss_of(classifier):
      params = {**state.params, optim.CLASSIFIER: classifier}
      outputs: Any = network.apply(
        {**state.variables, "params": params}, batch.image, mode="eval"
      )
      return objective(outputs, batch)

    (total, parts), gradient = collectives.value_and_grad(loss_of)(
      state.params[optim.CLASSIFIER]
    )
    learning_rate = rate(state.step)
    grads = jax.tree.map(jnp.zeros_like, state.params)
    moved, opt_moved = optim.apply_params(
      tx_params,
      {**grads, optim.CLASSIFIER: gradient},
      state.opt_params,
      state.params,
      learning_rate,
      bias_factor,
      classifier_factor,
    )
    metrics = {f"loss/{name}": value for name, value in parts.items()}
    metrics |= {"loss/total": total, "lr": learning_rate}
    state = state.replace(
      params=_take_classifier(moved, state.params),
      opt_params=_take_classifier(opt_moved, state.opt_params),
    )
    return state, metrics

  return step


def make_staged_step(first: Step, then: Step, steps: int) -> Step:
  """One step up to an iteration, another one from it on.

  Args:
    first: used while `state.step` is below `steps`.
    then: used from there on; its metrics have the same names.
    steps: iterations.

  Returns:
    step(state, batch) -> (state, metrics), pure and not yet jitted.
  """

  def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
    return jax.lax.cond(state.step < steps, first, then, state, batch)

  return step


def _take_classifier(new, old):
  """The leaves of `new` that belong to the classifier, all others of `old`."""

  def choose(path, moved, kept):
    names = [getattr(entry, "key", None) for entry in path]
    return moved if optim.CLASSIFIER in names else kept

  return jax.tree_util.tree_map_with_path(choose, new, old)
