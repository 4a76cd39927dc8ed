"""Our samplers against recorded draws of the reference's samplers."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from metabin_jax.data import sampling
from metabin_jax.data.records import Record

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "samplers.npz"


def golden_pool(kind):
  with np.load(GOLDEN) as golden:
    pids = golden[f"naive_{kind}/item_pid"]
    domains = golden[f"naive_{kind}/item_domain"]
  # Domain labels in the order of their numbers, as create_pool numbers them.
  pool = sampling.create_pool(
    [
      Record(f"/x/{i}", pid.decode(), int(d), f"c{d}")
      for i, (pid, d) in enumerate(zip(pids, domains, strict=True))
    ]
  )
  return pool, pids, domains


@pytest.mark.parametrize("kind", ["dg", "cam"])
def test_epoch_length_is_the_reference_one(kind):
  pool, _, _ = golden_pool(kind)
  with np.load(GOLDEN) as golden:
    _, batch, instances = golden[f"naive_{kind}/seed_batch_instances"]
    total = golden[f"naive_{kind}/total_images"]
  assert sampling.epoch_length(pool, batch, instances) * batch == total


def usage(rows, num_images):
  """Share of images that are used 0, 1, 2, 3 or more times."""
  times = np.minimum(np.bincount(rows.ravel(), minlength=num_images), 3)
  return np.bincount(times, minlength=4) / num_images


@pytest.mark.parametrize("kind", ["dg", "cam"])
def test_base_batches_have_the_reference_statistics(kind):
  pool, _, domains = golden_pool(kind)
  with np.load(GOLDEN) as golden:
    _, batch, instances = map(int, golden[f"naive_{kind}/seed_batch_instances"])
    length = int(golden[f"naive_{kind}/epoch_lengths"][0])
    indices = golden[f"naive_{kind}/indices"]
  draws = length // batch  # both start anew after this many

  def composition(rows):
    return np.stack(
      [(domains[rows] == d).sum(1) for d in range(domains.max() + 1)], 1
    )

  reference = indices[: len(indices) // batch * batch].reshape(-1, batch)
  runs = [
    np.stack([plan(i) for i in range(draws)])
    for plan in (
      sampling.make_base_plan(
        pool, batch_size=batch, instances=instances, seed=seed
      )
      for seed in range(30)
    )
  ]
  ours = np.stack([composition(run) for run in runs])
  theirs = composition(reference)
  spread = ours.std((0, 1))
  error = spread / np.sqrt(len(theirs))
  # Images, not persons: 4 sigma of the mean of the reference's few batches.
  assert (np.abs(ours.mean((0, 1)) - theirs.mean(0)) < 4 * error).all()
  assert (np.abs(np.log(theirs.std(0) / spread)) < 0.5).all()
  shares = np.stack([usage(run, len(domains)) for run in runs])
  want = usage(indices[:length], len(domains))
  assert (np.abs(shares.mean(0) - want) < 5 * shares.std(0) + 0.002).all()
  # Chunks of one person and camera are the exception with cameras as domains.
  mixed = np.mean(
    [np.ptp(domains[run].reshape(-1, instances), axis=1) > 0 for run in runs]
  )
  assert mixed == 0 if kind == "dg" else mixed > 0.9


@pytest.mark.parametrize(("kind", "mtrain"), [("dg", 3), ("cam", 3)])
def test_meta_batches_have_the_reference_statistics(kind, mtrain):
  pool, pids, domains = golden_pool(kind)
  with np.load(GOLDEN) as golden:
    _, batch, instances = map(
      int, golden[f"domain_{kind}/seed_batch_instances"]
    )
    length = int(golden[f"domain_{kind}/epoch_lengths"][0])
    indices = golden[f"domain_{kind}/indices"]
  draws = length // batch

  def run(seed):
    plan = sampling.make_meta_plan(
      pool,
      batch_size=batch,
      instances=instances,
      num_mtrain=mtrain,
      seed=seed,
    )
    return np.stack([np.concatenate(plan(i)[:2]) for i in range(draws)])

  runs = [run(seed) for seed in range(30)]
  shares = np.stack([usage(rows, len(domains)) for rows in runs])
  want = usage(indices[:length], len(domains))
  assert (np.abs(shares.mean(0) - want) < 5 * shares.std(0) + 0.002).all()

  def repeated(rows):
    groups = rows.reshape(-1, instances)
    return np.mean([len(set(group)) < instances for group in groups.tolist()])

  share = np.array([repeated(rows) for rows in runs])
  assert abs(share.mean() - repeated(indices[:length])) < 5 * share.std()
  # Within a domain each person is used equally often in the long run.
  units = np.char.add(np.char.add(pids.astype(str), "@"), domains.astype(str))
  _, unit = np.unique(units, return_inverse=True)
  times = np.mean([np.bincount(unit[rows.ravel()]) for rows in runs], 0)
  counts = np.bincount(unit)
  domain_of_unit = np.zeros(len(counts), int)
  domain_of_unit[unit] = domains
  for d in range(domains.max() + 1):
    mine = (domain_of_unit == d) & (counts <= instances)
    assert np.ptp(times[mine]) < 0.35 * times[mine].mean()
