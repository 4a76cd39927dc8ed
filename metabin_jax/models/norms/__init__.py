"""One file a norm arm; importing this package registers them all."""

from metabin_jax.models.norms import (
  batch,
  batch_instance,
  dualnorm,
  dualnorm_metabin,
  half,
  ibn_a,
  ibn_b,
  instance,
  osnet_arms,
  shared_affine,
  snr,
  switchable,
)

__all__ = [
  "batch",
  "batch_instance",
  "dualnorm",
  "dualnorm_metabin",
  "half",
  "ibn_a",
  "ibn_b",
  "instance",
  "osnet_arms",
  "shared_affine",
  "snr",
  "switchable",
]
