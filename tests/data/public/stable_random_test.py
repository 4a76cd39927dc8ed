from __future__ import annotations

import pytest

from metabin_jax.data.public import stable_random

PRID_1 = [5, 1, 8, 2, 7, 9, 4, 6, 3, 0]
PRID_2 = [7, 2, 5, 4, 3, 0, 6, 8, 9, 1]
ILIDS_1 = [8, 9, 1, 6, 5, 3, 7, 2, 4, 0]


def test_never_changes():
  # Saved digests hang on these numbers.
  assert stable_random.permutation(10, "splits/prid", 1) == PRID_1
  assert stable_random.permutation(10, "splits/prid", 2) == PRID_2
  assert stable_random.permutation(10, "splits/ilids", 1) == ILIDS_1


@pytest.mark.parametrize("count", [0, 1, 2, 119])
def test_is_a_permutation(count):
  order = stable_random.permutation(count, "splits/prid", 3)
  assert sorted(order) == list(range(count))


def test_places_are_drawn_alike():
  draws = [stable_random.permutation(4, "test", n)[0] for n in range(2000)]
  counts = [draws.count(value) for value in range(4)]
  # Standard deviation of each is 19.4.
  assert all(abs(count - 500) < 100 for count in counts)
