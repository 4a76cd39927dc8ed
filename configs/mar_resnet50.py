r"""MAR (CVPR 2019): an unlabelled site learned by soft multilabels, ResNet-50.

  metabin train --config=configs/mar_resnet50.py:pretrain --workdir=runs/msmt17
  metabin train --config=configs/mar_resnet50.py --workdir=runs/mar \
    --config.model.pretrained=runs/msmt17

First an ordinary supervised run on all 4,101 persons of MSMT17, then MAR with
these persons as reference agents on the training images of Market-1501, whose
labels are not used.

Variants: market1501 (default), dukemtmc (DukeMTMC-reID in its place, withdrawn
by its authors: also --i-have-a-licensed-copy), pretrain (what to start from).
Numbers are those of the published code; for the supplement's second drop of the
rate add "--config.optim.milestones_epochs=(12.0,18.0)". The recipe of the
pre-training is not published: that of `pretrain` is ours, from ImageNet weights
if --config.model.pretrained=FILE names them (docs/weights.md).
A batch of 184 + 184 images took four GPUs; with smaller ones lower optim.lr in
proportion. Needs the data sets below $METABIN_DATA. Time and scores: not run.
"""

from metabin_jax import default_config
from metabin_jax.data import protocols
from metabin_jax.errors import UserError

VARIANTS = ("market1501", "dukemtmc", "pretrain")


def get_config(variant: str = "market1501"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  root = protocols.data_root()
  config.model.backbone = "resnet50"
  config.model.width = 1.0
  config.model.norm = "bn"
  config.model.last_stride = 2
  config.model.neck = "none"
  config.model.last_relu = False
  config.data.sources = (f"msmt17:{root}?use=all",)
  config.data.height_px = 384
  config.data.width_px = 128
  config.data.pad_px = 7
  config.data.sampler = "shuffle"
  config.loss.base = ("ce",)
  config.loss.smoothing = 0.0
  config.optim.bias_factor = 1.0
  config.optim.warmup_epochs = 0.0
  config.meta.first_base_updates = 1
  if variant == "pretrain":
    config.method = "joint"
    config.data.batch_size = 64
    config.optim.milestones_epochs = (40.0,)
    config.train.epochs = 60.0
    return config
  config.method = "mar"
  config.model.pretrained_classifier = True
  config.data.unlabelled = (f"{variant}:{root}",)
  config.data.targets = (f"{variant}:{root}",)
  config.data.batch_size = 184
  config.optim.lr = 2e-4
  config.optim.weight_decay = 2.5e-2
  config.optim.decay_norms = False
  config.optim.milestones_epochs = (12.0, 17.0)
  config.train.epochs = 20.0
  return config
