r"""BIN of Nam and Kim, rho trained end to end: Table 4, row BIN.

  metabin train --config=configs/baseline_bin.py --workdir=runs/baseline_bin

Variants: released (default; the published code), paper (the paper's text where
the two differ), no_duke (DukeMTMC was withdrawn by its authors; four sources).
Needs the data sets below $METABIN_DATA: `metabin datasets --protocol=metabin`
says which are there. Without :no_duke also --i-have-a-licensed-copy.
Time and scores: not run. The published runs start from ImageNet weights:
--config.model.pretrained=FILE (docs/weights.md); without it, from random ones.
"""

from metabin_jax import default_config
from metabin_jax.data import protocols
from metabin_jax.errors import UserError

VARIANTS = ("released", "paper", "no_duke")


def get_config(variant: str = "released"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  protocols.use_dg_benchmark(config, variant)
  config.method = "joint"
  config.model.norm = "bin_shared"
  config.optim.joint_rho = True
  return config
