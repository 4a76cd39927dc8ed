r"""Quickstart: MetaBIN and BN on rendered people, minutes on a CPU.

  metabin train --config=configs/quickstart.py --workdir=runs/metabin
  metabin train --config=configs/quickstart.py:bn --workdir=runs/bn
  metabin evaluate runs/metabin runs/bn

`make quickstart` runs the three. The BN baseline sees the very same base
batches as MetaBIN's base steps.
"""

from metabin_jax import default_config

SOURCES = "synthetic:quick?domains=atrium,carpark,campus,plaza,station"
TARGETS = tuple(
  f"synthetic:quick?domains={domain}&name={domain}"
  for domain in ("dusk", "snow", "warehouse", "oldcctv")
)


def get_config(variant: str = "metabin"):
  config = default_config.get_config()
  config.model.width = 0.5
  config.data.sources = (SOURCES,)
  config.data.targets = TARGETS
  config.data.height_px = 64
  config.data.width_px = 32
  config.data.pad_px = 3
  config.data.batch_size = 40
  config.data.instances = 4
  config.train.epochs = 12.0
  config.train.steps_per_epoch = 80
  config.optim.warmup_epochs = 1.0
  config.optim.milestones_epochs = (7.0, 10.0)
  if variant == "bn":
    config.method = "joint"
    config.model.norm = "bn"
  return config
