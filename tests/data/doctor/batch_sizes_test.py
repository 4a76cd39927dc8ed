from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data import sampling
from metabin_jax.data.doctor import batch_sizes
from metabin_jax.data.doctor.batch_sizes import BatchSizes
from metabin_jax.data.pool import create_pool
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError


def random_pool(seed):
  """Up to four domains; persons may occur in several of them."""
  random = np.random.default_rng(seed)
  records = []
  for domain in range(random.integers(1, 5)):
    persons = random.choice(12, random.integers(1, 9), replace=False)
    for person in persons:
      shared = random.random() < (0.3 if seed % 2 else 0.95)
      pid = f"s/{person}" if shared else f"d{domain}/{person}"
      for image in range(random.integers(1, 5)):
        path = f"/{domain}/{person}/{image}"
        records.append(Record(path, pid, 1, f"d{domain}"))
  return create_pool(records)


def fits(pool, size, instances, meta):
  try:
    sampling.make_base_plan(pool, batch_size=size, instances=instances, seed=0)
    if meta:
      sampling.make_meta_plan(
        pool, batch_size=size, instances=instances, num_mtrain=1, seed=0
      )
  except UserError:
    return False
  return True


@pytest.mark.parametrize("instances", [2, 3, 4])
@pytest.mark.parametrize("seed", range(12))
def test_exactly_the_sizes_that_the_samplers_take(seed, instances):
  pool = random_pool(seed)
  sizes = batch_sizes.base_batch_sizes(pool, instances)
  for size in range(1, 160):
    assert (size in sizes) == fits(pool, size, instances, False), size
  if len(pool.domains) > 1:
    sizes = batch_sizes.meta_batch_sizes(pool, instances)
    for size in range(1, 160):
      assert (size in sizes) == fits(pool, size, instances, True), size


def test_the_random_pools_are_of_both_kinds():
  pools = [random_pool(seed) for seed in range(12)]
  wide = [pool for pool in pools if len(pool.domains) > 1]
  sizes = [batch_sizes.meta_batch_sizes(pool, 2) for pool in wide]
  assert {size.most >= size.least for size in sizes} == {True, False}
  assert any(len(pool.domains) == 1 for pool in pools)


@pytest.mark.parametrize(
  ("sizes", "wanted", "nearest"),
  [
    (BatchSizes(8, 16, 96), 80, 80),
    (BatchSizes(8, 16, 72), 80, 72),
    (BatchSizes(12, 24, 120), 80, 84),
    (BatchSizes(20, 40, 200), 50, 40),
    (BatchSizes(20, 40, 200), 1, 40),
    (BatchSizes(60, 120, 240), 80, 120),
    (BatchSizes(8, 16, 8), 80, None),
  ],
)
def test_nearest(sizes, wanted, nearest):
  assert sizes.nearest(wanted) == nearest
