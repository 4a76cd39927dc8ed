"""Batches of single images in random order: no persons x instances."""

from __future__ import annotations

import numpy as np

from metabin_jax.data import blocks, seeding
from metabin_jax.data.pool import Pool
from metabin_jax.data.sampling import BasePlan
from metabin_jax.errors import UserError


def epoch_length(pool: Pool, batch_size: int) -> int:
  """Returns the full batches that the images fill, each image used once.

  Args:
    pool: the training images.
    batch_size: B, images a batch.

  Raises:
    UserError: if the images do not fill one batch.
  """
  count = len(pool.pid)
  if count < batch_size:
    raise UserError(
      f"a batch of {batch_size} images is more than the sources have; use "
      f"data.batch_size={count} or less."
    )
  return count // batch_size


def make_plan(
  pool: Pool,
  *,
  batch_size: int,
  seed: int,
  stream: str = "sampling/shuffled",
) -> BasePlan:
  """Makes the plan of base batches of single images, whoever they show.

  Each epoch is a fresh order of all images, cut into batches; the images that
  do not fill the last one are left out of this epoch.

  Args:
    pool: the training images.
    batch_size: B, images a batch.
    seed: seed of the run.
    stream: of random numbers; plans of several pools take one each.

  Returns:
    plan(draw) -> int64 [B] image indices; none twice within an epoch.

  Raises:
    UserError: if the images do not fill one batch.

  Source: torch `DataLoader(shuffle=True, drop_last=True)`, as DualNorm and
    torchreid train.
  """
  draws = epoch_length(pool, batch_size)

  def make_block(block: int) -> np.ndarray:
    random = seeding.generator(seed, stream, block)
    order = random.permutation(len(pool.pid))[: draws * batch_size]
    order.flags.writeable = False  # handed out from a cache
    return order.reshape(draws, batch_size)

  return blocks.in_blocks(make_block, draws)
