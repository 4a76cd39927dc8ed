"""Flax Linen networks over `metabin_jax.ops`."""

from metabin_jax.models.reid import (
  Outputs,
  ReIDNetwork,
  create,
  init_variables,
)

__all__ = ["Outputs", "ReIDNetwork", "create", "init_variables"]
