"""Which images make up each batch, as a function of the step number alone.

A plan is stateless: batch `n` is the same whether or not batches before it
were asked for, so the step number is all that a resumed run needs. Batches are
dealt block by block; a block depends on (seed, block number) only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from metabin_jax.data import blocks, chunks, seeding
from metabin_jax.data.pool import Pool, create_pool
from metabin_jax.errors import UserError

__all__ = [
  "BasePlan",
  "MetaIndices",
  "MetaPlan",
  "Pool",
  "create_pool",
  "epoch_length",
  "make_base_plan",
  "make_meta_plan",
]


class MetaIndices(NamedTuple):
  """One meta batch.

  Attributes:
    mtrain: int64 [M] images of the meta-train domains, domain by domain.
    mtest: int64 [T] images of the meta-test domains, domain by domain.
    mtrain_domains: domain indices, increasing.
    mtest_domains: the other domain indices, increasing.
  """

  mtrain: np.ndarray
  mtest: np.ndarray
  mtrain_domains: tuple[int, ...]
  mtest_domains: tuple[int, ...]


BasePlan = Callable[[int], np.ndarray]
MetaPlan = Callable[[int], MetaIndices]


def epoch_length(pool: Pool, batch_size: int, instances: int) -> int:
  """Returns E, the iterations that are called an epoch, at least 1.

  E = (S - S mod B - B) / B, S the number of images after each person's count
  is rounded up to a multiple of K. It scales the schedules, nothing else.

  Source: reference fastreid/engine/defaults.py, auto_scale_hyperparams.
  """
  _check_batch(batch_size, instances)
  total = int(chunks.num_chunks(_persons(pool), instances).sum()) * instances
  return max(1, total // batch_size - 1)


def make_base_plan(
  pool: Pool,
  *,
  batch_size: int,
  instances: int,
  seed: int,
  balanced: bool = False,
) -> BasePlan:
  """Makes the plan of the base batches: P = B / K persons x K images.

  As in the reference, the P persons are drawn from the union of all domains,
  so a batch's domain composition is random. A block is `epoch_length` draws;
  when fewer than P persons have images left within it, all are dealt anew.

  Args:
    pool: the training images.
    batch_size: B, images a batch.
    instances: K, images a person, at least 2.
    seed: seed of the run.
    balanced: draw equally many persons from each domain instead (the paper's
      text: 16 images from each of 5 domains), domain by domain.

  Returns:
    plan(draw) -> int64 [B] image indices, those of a person side by side.

  Raises:
    UserError: if the sizes do not fit the pool.

  Source: reference fastreid/data/samplers/triplet_sampler.py,
    NaiveIdentitySampler. In domain=camera mode a person's K images may come
    from different cameras, unless `balanced`.
  """
  _check_batch(batch_size, instances)
  draws = epoch_length(pool, batch_size, instances)
  if balanced:
    share = _check_domains(pool, batch_size, instances)
    groups = [_persons(pool, d) for d in range(len(pool.domains))]
  else:
    share = batch_size // instances
    groups = [_persons(pool)]
    if share > len(pool.pids):
      raise UserError(
        f"a batch of {batch_size} images takes {share} persons with "
        f"{instances} images each, but the sources have {len(pool.pids)} "
        f"persons; use a batch size of at most {len(pool.pids) * instances}."
      )

  def make_block(block: int) -> np.ndarray:
    random = seeding.generator(seed, "sampling/base", block)
    return _deal_block(groups, instances, share, draws, random)

  return blocks.in_blocks(make_block, draws)


def make_meta_plan(
  pool: Pool, *, batch_size: int, instances: int, num_mtrain: int, seed: int
) -> MetaPlan:
  """Makes the plan of the meta batches, split by domain.

  Each batch takes B / (D K) units x K images from each of the D domains; a
  unit is a person within a domain (in domain=camera mode a person may thus
  occur under two cameras). A fresh random split of the domains each step makes
  `num_mtrain` of them meta-train. A block is one pass over the largest domain;
  when a smaller domain runs out within it, that domain alone is dealt anew.

  Args:
    pool: the training images.
    batch_size: B, meta-train and meta-test images together.
    instances: K, images a unit, at least 2.
    num_mtrain: number of meta-train domains, at least 1 and below D.
    seed: seed of the run.

  Returns:
    plan(step) -> MetaIndices.

  Raises:
    UserError: if the sizes do not fit the pool.

  Source: reference fastreid/data/samplers/triplet_sampler.py,
    DomainSuffleSampler; fastreid/engine/train_loop.py (split of domains).
  """
  num_domains = len(pool.domains)
  if num_domains < 2:
    raise UserError(
      f"only one domain ({pool.domains[0]}): a meta step needs at least 2 to "
      "split into meta-train and meta-test; add a source or use domain=camera."
    )
  if not 1 <= num_mtrain < num_domains:
    raise UserError(
      f"{num_mtrain} meta-train domains do not fit {num_domains} domains; use "
      f"1 to {num_domains - 1}."
    )
  share = _check_domains(pool, batch_size, instances)
  groups = [_persons(pool, d) for d in range(num_domains)]
  pass_lengths = [
    int(chunks.num_chunks(units, instances).sum()) // share for units in groups
  ]
  draws = max(1, *pass_lengths)

  def make_block(block: int) -> np.ndarray:
    random = seeding.generator(seed, "sampling/meta", block)
    return _deal_block(groups, instances, share, draws, random)

  batches = blocks.in_blocks(make_block, draws)

  def plan(step: int) -> MetaIndices:
    by_domain = batches(step).reshape(num_domains, -1)
    uniform = seeding.generator(seed, "sampling/split", step).random(
      num_domains
    )
    order = np.argsort(uniform, kind="stable")
    mtrain, mtest = np.sort(order[:num_mtrain]), np.sort(order[num_mtrain:])
    return MetaIndices(
      by_domain[mtrain].reshape(-1),
      by_domain[mtest].reshape(-1),
      tuple(mtrain.tolist()),
      tuple(mtest.tolist()),
    )

  return plan


def _persons(pool: Pool, domain: int | None = None) -> chunks.Units:
  members = np.arange(len(pool.pid))
  if domain is not None:
    members = members[pool.domain == domain]
  return chunks.group(pool.pid[members], members)


def _deal_block(
  groups: list[chunks.Units],
  instances: int,
  share: int,
  draws: int,
  random: np.random.Generator,
) -> np.ndarray:
  """Returns int64 [draws, B]; each draw takes `share` units of each group."""
  decks = [chunks.Deck(units, instances, random) for units in groups]
  block = np.stack(
    [np.stack([deck.deal(share) for deck in decks]) for _ in range(draws)]
  ).reshape(draws, -1)
  block.flags.writeable = False  # handed out from a cache
  return block


def _check_batch(batch_size: int, instances: int) -> None:
  if instances < 2:
    raise UserError(
      f"{instances} images a person leave no positive pair; use at least 2."
    )
  if batch_size < 2 * instances or batch_size % instances:
    raise UserError(
      f"batch size {batch_size} does not hold whole groups of {instances} "
      f"images a person; use {_nearby(batch_size, instances)}."
    )


def _check_domains(pool: Pool, batch_size: int, instances: int) -> int:
  """Checks a batch with equal parts of all domains; returns persons a part."""
  _check_batch(batch_size, instances)
  num_domains = len(pool.domains)
  unit = num_domains * instances
  share, rest = divmod(batch_size, unit)
  if rest or share < 2:
    raise UserError(
      f"batch size {batch_size} does not divide into {num_domains} domains x "
      f"2 or more persons x {instances} images; use "
      f"{_nearby(batch_size, unit)}."
    )
  for index, domain in enumerate(pool.domains):
    have = len(np.unique(pool.pid[pool.domain == index]))
    if have < 2:
      raise UserError(
        f"domain {domain!r} has {have} person, which leaves no negative pair; "
        "add persons or remove the domain."
      )
    if have < share:
      raise UserError(
        f"domain {domain!r} has {have} persons, but a batch of {batch_size} "
        f"images takes {share} from each domain; use a batch size of at most "
        f"{have * unit} or remove the domain."
      )
  return share


def _nearby(size: int, unit: int) -> str:
  """Names the multiples of `unit`, at least two of it, around `size`."""
  below = max(2, size // unit) * unit
  return f"{below} or {below + unit}"
