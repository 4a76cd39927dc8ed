"""The training state: everything a resumed run needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

PyTree = Any


class TrainState(struct.PyTreeNode):
  """Three trees, their optimizers, a memory; nothing else is mutable."""

  step: jax.Array  # int32 scalar: completed iterations
  params: PyTree  # convolutions, affine maps, classifier
  balance: PyTree  # rho of every balanced norm layer
  batch_stats: PyTree  # running means and variances
  opt_params: optax.OptState
  opt_balance: optax.OptState
  # What a method remembers of its images (`mar.Memory`); most remember nothing.
  memory: PyTree = struct.field(default_factory=dict)

  @property
  def variables(self) -> dict[str, PyTree]:
    """The collections, as `network.apply` takes them."""
    return {
      "params": self.params,
      "balance": self.balance,
      "batch_stats": self.batch_stats,
    }


def create_state(
  variables: Mapping[str, PyTree],
  tx_params: optax.GradientTransformation,
  tx_balance: optax.GradientTransformation,
) -> TrainState:
  """A state at step 0.

  Args:
    variables: {"params", "balance", "batch_stats"}; the last two may be empty.
    tx_params: transform of the base gradients, see `optim.make_params_tx`.
    tx_balance: optimizer of rho.

  Returns:
    The state; its arrays are copies, so donating it leaves `variables` alone.
  """
  params, balance, batch_stats = (
    jax.tree.map(lambda v: jnp.array(v, copy=True), variables.get(name, {}))
    for name in ("params", "balance", "batch_stats")
  )
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    balance=balance,
    batch_stats=batch_stats,
    opt_params=tx_params.init(params),
    opt_balance=tx_balance.init(balance),
  )
