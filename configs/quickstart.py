r"""Quickstart: MetaBIN and a BN baseline on rendered people, on a CPU.

  metabin train --config=configs/quickstart.py --workdir=runs/metabin
  metabin train --config=configs/quickstart.py:bn --workdir=runs/bn
  metabin evaluate runs/metabin runs/bn

`make quickstart` runs the three. Five rendered source domains, four unseen
target domains (docs/synthetic.md); ResNet-18 at a quarter of its width, 64x32
pixels, from scratch. The BN baseline sees the very same base batches as
MetaBIN's base steps. Times and scores: experiments/quickstart.

The recipe departs from the paper's where training from scratch at this size
asks for it; it was chosen by the BN baseline's training loss on the sources,
not by any result on a target.
"""

from metabin_jax import default_config
from metabin_jax.errors import UserError

VARIANTS = ("metabin", "bn", "short", "bn_short")
SOURCES = "atrium,carpark,campus,plaza,station"
TARGETS = ("dusk", "snow", "warehouse", "oldcctv")


def get_config(variant: str = "metabin"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  config.model.backbone = "resnet18"
  config.model.width = 0.25
  config.data.height_px = 64
  config.data.width_px = 32
  # 10 px of 256x128, at a quarter of the size.
  config.data.pad_px = 3
  config.data.batch_size = 40
  config.train.epochs = 12.0
  config.train.steps_per_epoch = 100
  # Three times the paper's rate, a short warm-up: nothing is pretrained.
  config.optim.lr = 0.03
  config.optim.warmup_epochs = 1.0
  config.optim.milestones_epochs = (7.0, 10.0)
  preset = "quick"
  if variant.endswith("short"):
    # For continuous integration: does it run, not does it learn.
    preset = "tiny"
    config.data.batch_size = 20
    config.data.instances = 2
    config.train.steps = 6
    config.train.log_every_steps = 2
  if variant.startswith("bn"):
    config.method = "joint"
    config.model.norm = "bn"
  config.data.sources = (f"synthetic:{preset}?domains={SOURCES}",)
  config.data.targets = tuple(
    f"synthetic:{preset}?domains={target}&name={target}" for target in TARGETS
  )
  return config
