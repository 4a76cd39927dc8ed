r"""One source, its eight cameras as domains: DukeMTMC-reID to Market-1501.

  metabin train --config=configs/single_source_duke.py --workdir=runs/duke

MetaBIN's single-source experiment (supplement; the published code's
configs/Sample/D-resnet.yml): ResNet-50, 4 cameras for meta-train and 4 for
meta-test, cross entropy in both meta losses, color jitter.
Needs Market-1501 and DukeMTMC-reID (16,522 images of 702 persons to train on)
below $METABIN_DATA. DukeMTMC was withdrawn by its authors: only with a licensed
copy, and --i-have-a-licensed-copy.
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
  protocols.use_protocol(config, "duke-to-market")
  # 96 = 8 cameras x 3 persons x 4 images.
  config.data.batch_size = 96
  config.data.jitter = True
  config.loss.mtrain = ("ce", "shuffle", "triplet", "scatter")
  config.loss.mtest = ("ce", "triplet")
  config.meta.num_mtrain = 4
  config.optim.rho_lr = 0.5
  config.optim.milestones_epochs = (50.0, 90.0)
  config.train.epochs = 120.0
  return config
