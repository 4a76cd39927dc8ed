"""All that this package can reproduce, in one place."""

from __future__ import annotations

from metabin_jax.repro import arms, scales, tables
from metabin_jax.repro.jobs import Catalogue

CATALOGUE = Catalogue(
  tables.STUDIES, arms.ARMS, scales.get_config, scales.overrides
)
