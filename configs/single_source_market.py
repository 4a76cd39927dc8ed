r"""One source, its six cameras as domains: Market-1501 to DukeMTMC-reID.

  metabin train --config=configs/single_source_market.py --workdir=runs/market

MetaBIN's single-source experiment (supplement; the published code's
configs/Sample/M-resnet.yml): ResNet-50, 3 cameras for meta-train and 3 for
meta-test, cross entropy in both meta losses, color jitter.
Needs Market-1501 (12,936 images of 751 persons to train on) and DukeMTMC-reID
below $METABIN_DATA. DukeMTMC was withdrawn by its authors: with a licensed copy
add --i-have-a-licensed-copy, without one "--config.data.targets=()".
Time and scores: not run. The published runs start from ImageNet weights:
--config.model.pretrained=FILE (docs/weights.md); without it, from random ones.
Variants: released (default), paper (the paper's text where it differs).
"""

from metabin_jax import default_config
from metabin_jax.data import protocols
from metabin_jax.errors import UserError

VARIANTS = ("released", "paper")


def get_config(variant: str = "released"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  config.preset = variant
  config.model.backbone = "resnet50"
  config.model.width = 1.0
  protocols.use_protocol(config, "market-to-duke")
  # 96 = 6 cameras x 4 persons x 4 images.
  config.data.batch_size = 96
  config.data.jitter = True
  config.loss.mtrain = ("ce", "shuffle", "triplet", "scatter")
  config.loss.mtest = ("ce", "triplet")
  config.meta.num_mtrain = 3
  config.optim.rho_lr = 0.2
  config.optim.milestones_epochs = (50.0, 90.0)
  config.train.epochs = 120.0
  return config
