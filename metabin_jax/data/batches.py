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


class UnlabelledBatch(NamedTuple):
  """Images whose persons are not known to the method.

  Attributes:
    image: uint8 [B, H, W, 3], RGB.
    row: int32 [B], which of all these images, none twice.
    view: int32 [B], camera view in [0, V).
    pid: int32 [B], class index of the person, for what is logged alone.
  """

  image: np.ndarray
  row: np.ndarray
  view: np.ndarray
  pid: np.ndarray


class Iteration(NamedTuple):
  """What one training iteration consumes.

  Attributes:
    step: number of the iteration, from 0.
    base: one batch a base update: several in iteration 0, then one.
    mtrain: meta-train batch, or None for methods without a meta step.
    mtest: meta-test batch, or None likewise.
    unlabelled: batch of the images without labels, or None without such.
  """

  step: int
  base: tuple[Batch, ...]
  mtrain: Batch | None
  mtest: Batch | None
  unlabelled: UnlabelledBatch | None = None


class Draw(NamedTuple):
  """One batch to read.

  Attributes:
    stream: "base", "unlabelled" or "meta".
    number: which batch of its stream, from 0.
    rows: int64 [B] image indices; for "meta" meta-train rows come first.
    num_mtrain: how many rows are meta-train, 0 but for "meta".
  """

  stream: str
  number: int
  rows: np.ndarray
  num_mtrain: int


class Unlabelled(NamedTuple):
  """The images without labels, and their batches.

  Attributes:
    pool: the images.
    view: int32 [N], camera view of each, by domain and camera number.
    num_views: V.
    batches: plan(step) -> rows of `pool`.
  """

  pool: Pool
  view: np.ndarray
  num_views: int
  batches: sampling.BasePlan


@dataclasses.dataclass(frozen=True)
class Part:
  """Which part of every batch is read here: `index` of `count`."""

  index: int = 0
  count: int = 1


_WHOLE = Part()


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
    part: consecutive rows of every batch (of meta-train and of meta-test each)
      that this process reads; the parts of all processes make up the batch.
    unlabelled: further images, one batch an iteration; None without such. In
      `draws` they are numbered after those of `pool`.
  """

  pool: Pool
  base: sampling.BasePlan
  meta: sampling.MetaPlan | None
  augmentation: augment.AugmentConfig
  seed: int
  first_base_updates: int
  height: int
  width: int
  part: Part = _WHOLE
  unlabelled: Unlabelled | None = None

  @property
  def paths(self) -> tuple[str, ...]:
    """The files that rows of draws point to."""
    further = self.unlabelled.pool.paths if self.unlabelled else ()
    return self.pool.paths + further

  def __post_init__(self):
    """Refuses sizes out of range."""
    for key in ("first_base_updates", "height", "width"):
      if getattr(self, key) < 1:
        raise UserError(f"{key} is {getattr(self, key)}; use at least 1.")
    if not 0 <= self.part.index < self.part.count:
      raise ValueError(f"{self.part} is no part.")

  def draws(self, step: int) -> tuple[Draw, ...]:
    """Returns the batches of an iteration: base, unlabelled, meta."""
    if step < 0:
      raise ValueError(f"step is {step}, want a number >= 0.")
    first = 0 if step == 0 else self.first_base_updates + step - 1
    count = self.first_base_updates if step == 0 else 1
    draws = [
      Draw("base", i, self.base(i), 0) for i in range(first, first + count)
    ]
    if self.unlabelled is not None:
      rows = self.unlabelled.batches(step) + len(self.pool.paths)
      draws.append(Draw("unlabelled", step, rows, 0))
    if self.meta is not None:
      split = self.meta(step)
      rows = np.concatenate([split.mtrain, split.mtest])
      draws.append(Draw("meta", step, rows, len(split.mtrain)))
    return tuple(draws)

  def positions(self, draw: Draw) -> np.ndarray:
    """Which rows of a batch are read here.

    Args:
      draw: one of `draws`.

    Returns:
      int64 [B / count], rising indices into `draw.rows`.

    Raises:
      ValueError: if the batch cannot be split equally.
    """
    index, count = self.part.index, self.part.count
    chosen = []
    for start, stop in (
      (0, draw.num_mtrain),
      (draw.num_mtrain, len(draw.rows)),
    ):
      size, rest = divmod(stop - start, count)
      if rest:
        raise ValueError(f"{stop - start} rows cannot be split by {count}.")
      chosen.append(start + index * size + np.arange(size))
    return np.concatenate(chosen)

  def params(self, draw: Draw) -> augment.AugmentParams:
    """Returns the random changes of a batch, all its rows."""
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
      images: for each draw the rows at its `positions`, uint8 [.., H, W, 3],
        after augmentation.
    """
    base, mtrain, mtest, unlabelled = [], None, None, None
    for draw, pixels in zip(draws, images, strict=True):
      rows = draw.rows[self.positions(draw)]
      if draw.stream == "unlabelled":
        unlabelled = self._label(pixels, rows - len(self.pool.paths))
        continue
      batch = Batch(pixels, self.pool.pid[rows], self.pool.domain[rows])
      if draw.stream == "base":
        base.append(batch)
      else:
        num_mtrain = draw.num_mtrain // self.part.count
        mtrain = Batch(*(values[:num_mtrain] for values in batch))
        mtest = Batch(*(values[num_mtrain:] for values in batch))
    return Iteration(step, tuple(base), mtrain, mtest, unlabelled)

  def _label(self, pixels, rows):
    further = self.unlabelled
    assert further is not None
    return UnlabelledBatch(
      pixels,
      rows.astype(np.int32),
      further.view[rows],
      further.pool.pid[rows],
    )


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
  part: Part | None = None,
  unlabelled: Sequence[Record] = (),
  unlabelled_size: int = 0,
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
    part: which rows to read here; None for all.
    unlabelled: further images, whose persons the method does not know.
    unlabelled_size: images of a batch of these.

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
    part=part or _WHOLE,
    unlabelled=(
      make_unlabelled(unlabelled, batch_size=unlabelled_size, seed=seed)
      if unlabelled
      else None
    ),
  )


def make_unlabelled(
  records: Sequence[Record], *, batch_size: int, seed: int
) -> Unlabelled:
  """Makes the batches of images without labels: each once an epoch of theirs.

  Args:
    records: the images; those of one camera of a domain are one view, and so
      are those of a domain without a camera number.
    batch_size: images of a batch, at least 2.
    seed: seed of the run.

  Raises:
    UserError: if they do not fill one batch.
  """
  pool = create_pool(records)
  if len(pool.paths) < batch_size:
    raise UserError(
      f"a batch takes {batch_size} images without labels, and there are "
      f"{len(pool.paths)}; use mar.batch_size={len(pool.paths)} or less, or "
      "name more data in data.unlabelled."
    )
  view, num_views = number_views(pool)
  return Unlabelled(
    pool,
    view,
    num_views,
    shuffling.make_plan(
      pool, batch_size=batch_size, seed=seed, stream="sampling/unlabelled"
    ),
  )


def number_views(pool: Pool) -> tuple[np.ndarray, int]:
  """Camera view of each image, by domain and camera number, and their number.

  Args:
    pool: the images; those without a camera number are one view of a domain.

  Returns:
    (int32 [N] in [0, V), V).
  """
  cameras, view = np.unique(
    np.stack([pool.domain, pool.camid]), axis=1, return_inverse=True
  )
  return view.astype(np.int32), cameras.shape[1]


def check_range(start: int, stop: int | None) -> None:
  """Refuses a range of steps that starts below 0 or runs backwards."""
  if start < 0 or (stop is not None and stop < start):
    raise ValueError(f"steps {start} to {stop}: want 0 <= start <= stop.")
