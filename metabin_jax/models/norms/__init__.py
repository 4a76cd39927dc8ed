"""One file a norm arm; importing this package registers them all."""

from metabin_jax.models.norms import (
  batch,
  batch_instance,
  half,
  instance,
  shared_affine,
)

__all__ = ["batch", "batch_instance", "half", "instance", "shared_affine"]
