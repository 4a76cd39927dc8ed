"""The public data sets as TFDS builders, after `import` of this package.

`tfds.builder("market1501")` and the like know them then; see docs/tfds.md.
"""

from __future__ import annotations

from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.data.tfds_builders.builder import ReidBuilder, make_builder

BUILDERS: dict[str, type[ReidBuilder]] = {
  name: make_builder(public) for name, public in PUBLIC_SETS.items()
}
