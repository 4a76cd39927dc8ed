r"""MetaBIN on your own photographs; docs/own_data.md says how to name them.

  metabin train --config=configs/own_data.py --workdir=runs/own \
    "--config.data.sources=('folder:photos/shop','folder:photos/station')"

Two domains or more; `:bn` trains the plain baseline on the same batches. The
lengths suit some thousand images and are a starting point, not a tuned recipe.
"""

from metabin_jax import default_config
from metabin_jax.errors import UserError

VARIANTS = ("metabin", "bn")


def get_config(variant: str = "metabin"):
  if variant not in VARIANTS:
    raise UserError(f"variant {variant!r} is unknown; use one of {VARIANTS}.")
  config = default_config.get_config()
  config.model.width = 1.0
  # 64 = 2 domains x 8 persons x 4 images, or 4 x 4 x 4.
  config.data.batch_size = 64
  # One domain for meta-train works with any number of places. The shuffle loss
  # needs two there: with more places raise num_mtrain and put it back.
  config.meta.num_mtrain = 1
  config.loss.mtrain = ("triplet", "scatter")
  config.train.epochs = 60.0
  config.optim.warmup_epochs = 5.0
  config.optim.milestones_epochs = (30.0, 50.0)
  if variant == "bn":
    config.method = "joint"
    config.model.norm = "bn"
  return config
