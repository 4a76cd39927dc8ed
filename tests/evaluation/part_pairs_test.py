"""Greedy pairs against a search that looks at every pair every time."""

from __future__ import annotations

import pathlib
import tracemalloc

import numpy as np
import pytest

from metabin_jax.evaluation import part_pairs

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "bnta.npz")


def naive_pairs(features, limit):
  """Scans all free pairs and parts for each pair that it takes."""
  free, taken = set(range(len(features))), []
  while len(taken) < limit and len(free) >= 2:
    best = min(
      (np.sqrt(np.sum((features[i, h] - features[j, h]) ** 2)), i, j, h)
      for i in free
      for j in free
      if i < j
      for h in range(features.shape[1])
    )
    taken.append(best)
    free -= set(best[1:3])
  return taken


def as_tuples(pairs):
  return [
    (distance, *map(int, rows), int(part))
    for rows, part, distance in zip(*pairs, strict=True)
  ]


def test_brute_force_on_500_problems(monkeypatch):
  """Half of them with many ties; odd N, N < 2K, copies, one image."""
  rng = np.random.default_rng(0)
  for trial in range(500):
    monkeypatch.setattr(part_pairs, "_CANDIDATES", 1 + trial % 7)
    shape = rng.integers(1, (14, 7, 5))
    if trial % 2:
      features = rng.normal(size=shape)
    else:
      features = rng.integers(0, 3, shape).astype(float)
    if trial % 5 == 0 and len(features) > 2:
      features[-1] = features[0]
    limit = int(rng.integers(0, 9))
    found = part_pairs.pair_images(
      features, limit, block=int(rng.integers(1, 6))
    )
    assert as_tuples(found) == naive_pairs(features, limit), trial
    assert len(found.rows) == part_pairs.count_pairs(len(features), limit)


def test_pairs_of_the_reference():
  found = part_pairs.pair_images(GOLDEN["pairing_features"], 12)
  taken = np.column_stack([found.rows, found.parts])
  np.testing.assert_array_equal(taken, GOLDEN["pairing"])
  np.testing.assert_allclose(
    found.distances, GOLDEN["pairing_distances"], rtol=1e-12
  )


def test_near_copies_are_not_confused():
  """Far from zero, inner products cannot tell these distances apart."""
  rng = np.random.default_rng(1)
  features = 1e6 + rng.normal(size=(12, 2, 3)) * 1e-6
  found = part_pairs.pair_images(features, 6)
  assert as_tuples(found) == naive_pairs(features, 6)


def test_greedy_is_not_the_least_sum():
  line = np.array([0.0, 1.0, 1.9, 2.9])[:, None, None]
  found = part_pairs.pair_images(line, 2)
  assert found.rows.tolist() == [[1, 2], [0, 3]]  # 0.9 + 2.9, not 1.0 + 1.0


def test_all_images_alike():
  found = part_pairs.pair_images(np.zeros((7, 3, 2)), 9, block=2)
  assert found.rows.tolist() == [[0, 1], [2, 3], [4, 5]]
  assert found.parts.tolist() == [0, 0, 0]


def test_copies_are_not_all_compared(monkeypatch):
  """Of a thousand copies the first that is there is near enough."""
  compared = []
  squares = np.square
  monkeypatch.setattr(
    np, "square", lambda x: compared.append(len(x)) or squares(x)
  )
  monkeypatch.setattr(part_pairs, "_CANDIDATES", 10)
  found = part_pairs.pair_images(np.ones((300, 6, 4)), 150)
  assert found.rows.tolist() == np.arange(300).reshape(150, 2).tolist()
  assert max(compared) <= 10
  assert sum(compared) <= 10 * 300


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(count):
  found = part_pairs.pair_images(np.zeros((count, 6, 2)))
  assert found.rows.shape == (0, 2)


def test_not_finite_is_refused():
  features = np.zeros((4, 2, 2))
  features[1, 1, 0] = np.nan
  with pytest.raises(ValueError, match="not finite"):
    part_pairs.pair_images(features)


def test_memory_is_that_of_a_block():
  """Not of all pairs: N x N x P numbers would be 576 MB."""
  features = np.random.default_rng(2).normal(size=(2000, 18, 4))
  tracemalloc.start()
  part_pairs.pair_images(features, 16, block=64)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 80e6
