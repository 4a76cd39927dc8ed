r"""Every arm of the paper's tables, on the published data and schedule.

  metabin train --config=configs/arms.py --workdir=runs/metabin
  metabin train --config=configs/arms.py:metabin_tr --workdir=runs/metabin_tr

Variants: the names of all arms (docs/repro.md lists them); default: metabin.
`metabin repro` runs whole tables of them, at this scale and at a small one.
Needs the data sets below $METABIN_DATA: `metabin datasets --protocol=metabin`
says which are there, and --i-have-a-licensed-copy (DukeMTMC).
Time and scores: not run. The published runs start from ImageNet weights:
--config.model.pretrained=FILE (docs/weights.md); without it, from random ones.
"""

from metabin_jax.errors import UserError
from metabin_jax.repro import scales
from metabin_jax.repro.arms import ARMS

VARIANTS = ("metabin", *(name for name in ARMS if name != "metabin"))


def get_config(variant: str = "metabin"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = scales.get_config("full", "dg")
  changes = scales.overrides(ARMS[variant], "dg", "full")
  config.update_from_flattened_dict(changes)
  return config
