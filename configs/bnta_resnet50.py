r"""BNTA (AAAI 2022): DualNorm ResNet-50 with part heads, Tables 2 to 5.

  metabin train --config=configs/bnta_resnet50.py --workdir=runs/bnta
  metabin evaluate runs/bnta                  # adapted to each gallery
  metabin evaluate runs/bnta --adapt=none     # as trained
  # Extractor.from_checkpoint("runs/bnta") is as trained; `adapt` adapts it.

Variants: published (default; the paper's text), dualnorm_sgd (Nesterov's SGD at
the rates of DualNorm's code, which the printed numbers fit better than Adam;
part heads at the rate of the backbone), tall (384x128 pixels: 12 rows, which
six parts divide), no_duke (DukeMTMC was withdrawn by its authors; four
sources).
What the paper leaves open (sampler, augmentation, weight decay, image size) is
as in DualNorm's code.
Needs the data sets below $METABIN_DATA: `metabin datasets --protocol=metabin`
says which are there. Without :no_duke also --i-have-a-licensed-copy.
Time and scores: not run. The published runs start from ImageNet weights:
--config.model.pretrained=FILE (docs/weights.md); without it, from random ones.
"""

from metabin_jax import default_config
from metabin_jax.data import protocols
from metabin_jax.errors import UserError

VARIANTS = ("published", "dualnorm_sgd", "tall", "no_duke")


def get_config(variant: str = "published"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  protocols.use_dg_benchmark(config, variant)
  config.method = "joint"
  config.model.backbone = "resnet50"
  config.model.width = 1.0
  config.model.last_stride = 2
  config.model.norm = "dualnorm"
  config.model.heads = "bnta"
  config.data.sampler = "shuffle"
  config.data.batch_size = 64
  config.loss.base = ("ce", "position", "match")
  config.loss.smoothing = 0.0
  config.optim.optimizer = "adam"
  config.optim.lr = 0.005
  config.optim.bias_factor = 1.0
  config.optim.warmup_epochs = 0.0
  config.optim.milestones_epochs = (40.0,)
  config.train.epochs = 60.0
  config.eval.adapt = "bnta"
  if variant == "dualnorm_sgd":
    config.optim.optimizer = "sgd"
    config.optim.nesterov = True
    config.optim.classifier_factor = 10.0
  if variant == "tall":
    config.data.height_px = 384
  return config
