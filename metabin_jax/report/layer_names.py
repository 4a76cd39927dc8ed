"""Names and order of the layers that have a rho."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax.errors import UserError


def by_layer(balance: Any, order: list[str] | None = None) -> dict[str, Any]:
  """The leaves of a tree shaped like every rho, by layer.

  Args:
    balance: {"backbone": {<module>: ... {"rho": [C]}}}.
    order: names from `forward_order`; None keeps the tree's own.

  Returns:
    {layer: [C]}; a layer is called as in the metrics of a run
    ("rho/<layer>/mean").
  """
  found = {
    # ("backbone", <module>, ..., "rho")
    "_".join(entry.key for entry in path[1:-1]): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(balance)
  }
  return found if order is None else {name: found[name] for name in order}


def forward_order(network: Any, height: int, width: int) -> list[str]:
  """Layers with a rho as an image meets them, from the network's own pass.

  Args:
    network: from `models.create`.
    height: of its images, in pixels.
    width: of its images, in pixels.

  Returns:
    Their names; empty for an arm without rho. Nothing is computed: the network
    is only traced.
  """
  names: list[str] = []

  def walk(tree: Any, path: tuple[str, ...]) -> None:
    for key, value in tree.items():
      if hasattr(value, "items"):
        walk(value, (*path, key))
      else:
        names.append("_".join(path[1:]))

  def initialize(key: jax.Array) -> None:
    images = jnp.zeros((2, height, width, 3), jnp.uint8)
    # Flax keeps the order in which modules made their variables; JAX would
    # sort them, so they are read before they leave the trace.
    walk(network.init(key, images, mode="hold").get("balance", {}), ())

  jax.eval_shape(initialize, jax.random.key(0))
  return names


def rho_of(loaded: Any, place: object) -> dict[str, np.ndarray]:
  """Every rho of a trained network, in the order of the forward pass.

  Args:
    loaded: from `scoring.load_run`.
    place: the run's folder, for the message.

  Returns:
    {layer: float32 [C]}.

  Raises:
    UserError: if the network has none.
  """
  balance = loaded.variables["balance"]
  if not jax.tree.leaves(balance):
    raise UserError(
      f"{place} has no rho, since its norm layers are "
      f"{loaded.config.model.norm!r}; give a run whose layers have one, e.g. "
      "with --config.model.norm=bin."
    )
  data = loaded.config.data
  order = forward_order(loaded.network, data.height_px, data.width_px)
  return {
    name: np.asarray(rho) for name, rho in by_layer(balance, order).items()
  }
