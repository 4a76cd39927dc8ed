r"""MetaBIN, ResNet-50: Table 1, row MetaBIN (ResNet-50).

  metabin train --config=configs/metabin_resnet50.py --workdir=runs/resnet50

Variants: released (default; the published code), paper (the paper's text where
the two differ), second_order (through the inner gradient), no_duke (DukeMTMC
was withdrawn by its authors; four sources of 20 images a batch and two of them
for meta-train, which is our choice).
Needs the data sets below $METABIN_DATA: `metabin datasets --protocol=metabin`
says which are there. Without :no_duke also --i-have-a-licensed-copy.
Time and scores: not run. The published runs start from ImageNet weights:
--config.model.pretrained=FILE (docs/weights.md); without it, from random ones.
"""

from metabin_jax import default_config
from metabin_jax.data import protocols
from metabin_jax.errors import UserError

VARIANTS = ("released", "paper", "second_order", "no_duke")


def get_config(variant: str = "released"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  protocols.use_dg_benchmark(config, variant)
  config.model.backbone = "resnet50"
  config.model.width = 1.0
  if variant == "second_order":
    config.meta.second_order = True
  if variant == "no_duke":
    config.meta.num_mtrain = 2
  return config
