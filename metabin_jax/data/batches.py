"""What each training iteration is fed, before any pixel is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from metabin_jax.data import augment, sampling, shuffling
from metabin_jax.data.pool import Pool, create_pool
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError


class Batch(NamedTuple):
  """Images and labels.

  Attributes:
    image: uint8 [B, H, W, 3], RGB.
    pid: int32 [B] class index of the person.
    domain: int32 [B] domain index.
  """

  image: np.ndarray
  pid: np.ndarray
  domain: np.ndarray


class Iteration(NamedTuple):
  """What one training iteration consumes.

  Attributes:
    step: number of the iteration, from 0.
    base: one batch a base update: several in iteration 0, then one.
    mtrain: meta-train batch, or None for methods without a meta step.
    mtest: meta-test batch, or None likewise.
  """

  step: int
  base: tuple[Batch, ...]
  mtrain: Batch | None
  mtest: Batch | None


class Draw(NamedTuple):
  """One batch to read.

  Attributes:
    stream: "base" or "meta".
    number: which batch of its stream, from 0.
    rows: int64 [B] image indices; for "meta" meta-train rows come first.
    num_mtrain: how many rows are meta-train, 0 for "base".
  """

  stream: str
  number: int
  rows: np.ndarray
  num_mtrain: int


class Source(Protocol):
  """A loader: turns a plan into pixels."""

  def iterate(self, start: int, stop: int | None = None) -> Iterator[Iteration]:
    """Yields iterations start, start + 1, ... before `stop`."""
    ...


@dataclasses.dataclass(frozen=True)
class BatchPlan:
  """Says which images, changed how, make up each iteration.

  Attributes:
    pool: the training images.
    base: plan(draw) -> rows of base batches.
    meta: plan(step) -> rows of meta batches; None without a meta step.
    augmentation: random changes.
    seed: seed of the run.
    first_base_updates: base batches of iteration 0 (the reference makes ten
      before its first meta step).
    height: rows of the images, in pixels.
    width: columns of the images, in pixels.
  """

  pool: Pool
  base: sampling.BasePlan
  meta: sampling.MetaPlan | None
  augmentation: augment.AugmentConfig
  seed: int
  first_base_updates: int
  height: int
  width: int

  def __post_init__(self):
    """Refuses sizes out of range."""
    for key in ("first_base_updates", "height", "width"):
      if getattr(self, key) < 1:
        raise UserError(f"{key} is {getattr(self, key)}; use at least 1.")

  def draws(self, step: int) -> tuple[Draw, ...]:
    """Returns the batches of an iteration: base ones, then the meta one."""
    if step < 0:
      raise ValueError(f"step is {step}, want a number >= 0.")
    first = 0 if step == 0 else self.first_base_updates + step - 1
    count = self.first_base_updates if step == 0 else 1
    draws = [
      Draw("base", i, self.base(i), 0) for i in range(first, first + count)
    ]
    if self.meta is not None:
      split = self.meta(step)
      rows = np.concatenate([split.mtrain, split.mtest])
      draws.append(Draw("meta", step, rows, len(split.mtrain)))
    return tuple(draws)

  def params(self, draw: Draw) -> augment.AugmentParams:
    """Returns the random changes of a batch."""
    return augment.draw(
      self.augmentation, self.seed, draw.stream, draw.number, len(draw.rows)
    )

  def assemble(
    self, step: int, draws: Sequence[Draw], images: Sequence[np.ndarray]
  ) -> Iteration:
    """Puts the pixels of an iteration's batches and their labels together.

    Args:
      step: number of the iteration.
      draws: what `draws(step)` returned.
      images: uint8 [B, H, W, 3] for each draw, after augmentation.
    """
    base, mtrain, mtest = [], None, None
    for draw, pixels in zip(draws, images, strict=True):
      batch = Batch(
        pixels, self.pool.pid[draw.rows], self.pool.domain[draw.rows]
      )
      if draw.stream == "base":
        base.append(batch)
      else:
        mtrain = Batch(*(part[: draw.num_mtrain] for part in batch))
        mtest = Batch(*(part[draw.num_mtrain :] for part in batch))
    return Iteration(step, tuple(base), mtrain, mtest)


def make_batch_plan(
  records: Sequence[Record],
  *,
  batch_size: int,
  instances: int,
  seed: int,
  num_mtrain: int | None = None,
  height: int = 256,
  width: int = 128,
  augmentation: augment.AugmentConfig | None = None,
  first_base_updates: int = 10,
  balanced: bool = False,
  shuffled: bool = False,
) -> BatchPlan:
  """Makes the plan of a training run.

  Args:
    records: the training images.
    batch_size: images of a base batch, and of a meta batch (both its parts).
    instances: K, images a person.
    seed: seed of the run.
    num_mtrain: number of meta-train domains; None for no meta step.
    height: rows of the images, in pixels.
    width: columns of the images, in pixels.
    augmentation: random changes; None for flip and padded crop.
    first_base_updates: base batches of iteration 0.
    balanced: equal shares of all domains in base batches too.
    shuffled: single images in base batches, in place of K of each person.

  Raises:
    UserError: if the sizes do not fit the images.
  """
  pool = create_pool(records)
  if shuffled:
    base = shuffling.make_plan(pool, batch_size=batch_size, seed=seed)
  else:
    base = sampling.make_base_plan(
      pool,
      batch_size=batch_size,
      instances=instances,
      seed=seed,
      balanced=balanced,
    )
  meta = None
  if num_mtrain is not None:
    meta = sampling.make_meta_plan(
      pool,
      batch_size=batch_size,
      instances=instances,
      num_mtrain=num_mtrain,
      seed=seed,
    )
  return BatchPlan(
    pool=pool,
    base=base,
    meta=meta,
    augmentation=augmentation or augment.AugmentConfig(),
    seed=seed,
    first_base_updates=first_base_updates,
    height=height,
    width=width,
  )


def check_range(start: int, stop: int | None) -> None:
  """Refuses a range of steps that starts below 0 or runs backwards."""
  if start < 0 or (stop is not None and stop < start):
    raise ValueError(f"steps {start} to {stop}: want 0 <= start <= stop.")
