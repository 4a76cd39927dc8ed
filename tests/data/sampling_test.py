from __future__ import annotations

import collections
import time

import numpy as np
import pytest

from metabin_jax.data import chunks, sampling
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError


def make_pool(sizes, cameras=1):
  """sizes[d] lists how many images each person of domain d has."""
  return sampling.create_pool(
    [
      Record(f"/x/{d}/{p}/{i}", f"d{d}/{p}", i % cameras, f"d{d}")
      for d, persons in enumerate(sizes)
      for p, count in enumerate(persons)
      for i in range(count)
    ]
  )


def random_pool(seed):
  """A pool where person labels are shared among domains now and then."""
  random = np.random.default_rng(seed)
  shared = bool(random.integers(2))
  records = []
  for d in range(random.integers(2, 6)):
    for p in range(random.integers(8, 30)):
      pid = f"s/{p}" if shared else f"d{d}/{p}"
      for i in range(random.integers(1, 12)):
        records.append(Record(f"/x/{d}/{p}/{i}", pid, d, f"c{d}"))
  order = random.permutation(len(records))
  return sampling.create_pool([records[i] for i in order])


def test_pool_numbers_persons_by_name_and_domains_by_appearance():
  pool = sampling.create_pool(
    [
      Record("/3", "z/1", 4, "late"),
      Record("/1", "a/10", -1, "early"),
      Record("/2", "a/9", 2, "late"),
    ]
  )
  assert pool.pids == ("a/10", "a/9", "z/1")
  assert pool.domains == ("late", "early")
  assert pool.paths == ("/3", "/1", "/2")
  for name, want in (
    ("pid", [2, 0, 1]),
    ("domain", [0, 1, 0]),
    ("camid", [4, -1, 2]),
  ):
    got = getattr(pool, name)
    assert got.dtype == np.int32
    assert got.tolist() == want


def test_empty_pool():
  with pytest.raises(UserError, match="there is no training image"):
    sampling.create_pool([])


def test_chunks_use_every_image_and_pad_without_replacement():
  counts = np.array([1, 2, 4, 5, 7, 8])
  units = chunks.group(np.repeat(np.arange(6), counts), np.arange(counts.sum()))
  for seed in range(50):
    got = chunks.cut_chunks(units, 4, np.random.default_rng(seed))
    assert got.shape == (9, 4)
    used = collections.Counter(got.ravel().tolist())
    start = 0
    for first, number, n in zip(
      [0, 1, 2, 3, 5, 7], [1, 1, 1, 2, 2, 2], counts, strict=True
    ):
      mine = got[first : first + number].ravel()
      assert ((mine >= start) & (mine < start + n)).all()
      if n >= 4:
        times = [used[i] for i in range(start, start + n)]
        assert min(times) == 1
        assert max(times) <= 2
      start += n


def test_small_units_draw_with_replacement():
  units = chunks.group(np.zeros(3, int), np.arange(3))
  seen = {
    len(set(chunks.cut_chunks(units, 4, np.random.default_rng(s))[0].tolist()))
    for s in range(200)
  }
  assert seen == {1, 2, 3}


@pytest.mark.parametrize("seed", range(20))
def test_base_plan_properties(seed):
  pool = random_pool(seed)
  plan = sampling.make_base_plan(pool, batch_size=24, instances=4, seed=seed)
  for draw in range(40):
    rows = plan(draw)
    assert rows.dtype == np.int64
    assert rows.shape == (24,)
    assert rows.min() >= 0
    assert rows.max() < len(pool.pid)
    pids = pool.pid[rows].reshape(6, 4)
    assert (pids == pids[:, :1]).all()
    assert len(set(pids[:, 0].tolist())) == 6


@pytest.mark.parametrize("seed", range(20))
def test_balanced_base_plan_properties(seed):
  pool = random_pool(seed)
  D = len(pool.domains)
  plan = sampling.make_base_plan(
    pool, batch_size=D * 2 * 3, instances=3, seed=seed, balanced=True
  )
  for draw in range(20):
    rows = plan(draw).reshape(D, 2, 3)
    assert (pool.domain[rows] == np.arange(D)[:, None, None]).all()
    assert (pool.pid[rows] == pool.pid[rows][:, :, :1]).all()
    assert (pool.pid[rows[:, 0, 0]] != pool.pid[rows[:, 1, 0]]).all()


@pytest.mark.parametrize("seed", range(20))
def test_meta_plan_properties(seed):
  pool = random_pool(seed)
  D = len(pool.domains)
  num_mtrain = 1 + seed % (D - 1)
  plan = sampling.make_meta_plan(
    pool, batch_size=D * 3 * 4, instances=4, num_mtrain=num_mtrain, seed=seed
  )
  splits = set()
  for step in range(40):
    got = plan(step)
    splits.add(got.mtrain_domains)
    assert len(got.mtrain_domains) == num_mtrain
    assert sorted(got.mtrain_domains + got.mtest_domains) == list(range(D))
    for rows, domains in (
      (got.mtrain, got.mtrain_domains),
      (got.mtest, got.mtest_domains),
    ):
      assert rows.dtype == np.int64
      rows = rows.reshape(len(domains), 3, 4)
      assert (pool.domain[rows] == np.array(domains)[:, None, None]).all()
      pids = pool.pid[rows]
      assert (pids == pids[:, :, :1]).all()
      assert all(len(set(p)) == 3 for p in pids[:, :, 0].tolist())
  assert len(splits) > 1


def test_order_of_calls_does_not_matter():
  pool = random_pool(3)
  D = len(pool.domains)

  def make(seed):
    meta = sampling.make_meta_plan(
      pool, batch_size=D * 8, instances=4, num_mtrain=1, seed=seed
    )
    base = sampling.make_base_plan(pool, batch_size=16, instances=4, seed=seed)
    return base, lambda step: np.concatenate(meta(step)[:2])

  steps = list(range(120))
  for forward, shuffled in zip(make(5), make(5), strict=True):
    want = [forward(step) for step in steps]
    for step in np.random.default_rng(0).permutation(steps):
      np.testing.assert_array_equal(shuffled(int(step)), want[step])
  for one, other in zip(make(5), make(6), strict=True):
    assert any((one(step) != other(step)).any() for step in range(3))


def test_blocks_differ():
  pool = make_pool([[4] * 8, [4] * 8])
  length = sampling.epoch_length(pool, 16, 4)
  plan = sampling.make_base_plan(pool, batch_size=16, instances=4, seed=0)
  assert (plan(0) != plan(length)).any()


def test_plans_cannot_be_changed_by_their_user():
  plan = sampling.make_base_plan(
    make_pool([[4] * 8]), batch_size=16, instances=4, seed=0
  )
  with pytest.raises(ValueError, match="read-only"):
    plan(0)[0] = 1
  with pytest.raises(ValueError, match="draw is -1"):
    plan(-1)


def test_single_image_person_is_repeated():
  pool = make_pool([[1] * 4])
  plan = sampling.make_base_plan(pool, batch_size=8, instances=4, seed=0)
  rows = plan(0).reshape(2, 4)
  assert (rows == rows[:, :1]).all()
  assert rows[0, 0] != rows[1, 0]


def test_epoch_length_by_hand():
  # Persons of 1, 4, 5 images fill 1 + 1 + 2 chunks: S = 16.
  pool = make_pool([[1, 4, 5]])
  assert sampling.epoch_length(pool, 4 + 4, 4) == 1  # (16 - 0 - 8) / 8
  assert sampling.epoch_length(pool, 12, 4) == 1  # 0 by the formula
  pool = make_pool([[5] * 10])  # S = 80
  assert sampling.epoch_length(pool, 12, 4) == 5  # (80 - 8 - 12) / 12


def test_split_is_uniform():
  pool = make_pool([[4] * 3] * 4)
  plan = sampling.make_meta_plan(
    pool, batch_size=32, instances=4, num_mtrain=2, seed=1
  )
  counts = collections.Counter(plan(s).mtrain_domains for s in range(1200))
  assert len(counts) == 6
  assert min(counts.values()) > 150  # 200 expected, sigma 13
  assert max(counts.values()) < 250


META = {"batch_size": 16, "instances": 4, "num_mtrain": 1, "seed": 0}


@pytest.mark.parametrize(
  ("sizes", "change", "message"),
  [
    ([[4] * 4], {}, r"only one domain \(d0\): a meta step needs at least 2"),
    ([[4] * 4] * 2, {"num_mtrain": 2}, r"2 meta-train domains .* use 1 to 1"),
    ([[4] * 4] * 2, {"num_mtrain": 0}, r"0 meta-train domains do not fit 2"),
    (
      [[4] * 4] * 2,
      {"batch_size": 20},
      r"batch size 20 does not divide into 2 domains x 2 or more persons x 4 "
      r"images; use 16 or 24",
    ),
    ([[4] * 4] * 3, {"batch_size": 12}, r"batch size 12 .* use 24 or 36"),
    ([[4] * 4] * 2, {"batch_size": 18}, r"whole groups of 4 .* use 16 or 20"),
    ([[4] * 4, [4]], {}, r"domain 'd1' has 1 person, which leaves no negative"),
    (
      [[4] * 9, [4] * 3],
      {"batch_size": 32},
      r"domain 'd1' has 3 persons, but a batch of 32 images takes 4 from each "
      r"domain; use a batch size of at most 24",
    ),
    ([[4] * 4] * 2, {"instances": 1}, r"1 images a person leave no positive"),
  ],
)
def test_meta_plan_mistakes(sizes, change, message):
  with pytest.raises(UserError, match=message):
    sampling.make_meta_plan(make_pool(sizes), **{**META, **change})


@pytest.mark.parametrize(
  ("batch", "balanced", "message"),
  [
    (30, False, r"batch size 30 does not hold whole groups of 4 .* 28 or 32"),
    (4, False, r"batch size 4 does not hold whole groups .* use 8 or 12"),
    (48, False, r"takes 12 persons .* have 8 persons; use .* at most 32"),
    (20, True, r"batch size 20 does not divide into 2 domains x 2 .* 16 or 24"),
  ],
)
def test_base_plan_mistakes(batch, balanced, message):
  with pytest.raises(UserError, match=message):
    sampling.make_base_plan(
      make_pool([[4] * 4] * 2),
      batch_size=batch,
      instances=4,
      seed=0,
      balanced=balanced,
    )


def test_domain_that_was_emptied():
  pool = make_pool([[4] * 4] * 2)._replace(domains=("d0", "d1", "gone"))
  with pytest.raises(UserError, match="domain 'gone' has 0 person"):
    sampling.make_meta_plan(pool, **{**META, "batch_size": 24})


def test_paper_scale_is_fast():
  random = np.random.default_rng(0)
  pool = make_pool(
    [
      (1 + random.poisson(mean, persons)).tolist()
      for persons, mean in (
        (1816, 3),
        (1467, 8.6),
        (1501, 18.6),
        (1812, 19.1),
        (11934, 1.9),
      )
    ]
  )
  assert len(pool.pid) > 120_000
  base = sampling.make_base_plan(pool, batch_size=80, instances=4, seed=0)
  meta = sampling.make_meta_plan(
    pool, batch_size=80, instances=4, num_mtrain=3, seed=0
  )
  for plan in (base, meta):
    start = time.perf_counter()
    plan(0)
    assert time.perf_counter() - start < 2.0  # 0.2 s on one core
    start = time.perf_counter()
    for step in range(1000):
      plan(step)
    assert time.perf_counter() - start < 1.0  # 0.02 s
