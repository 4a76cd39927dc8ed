from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data.public.matlab_random import MatlabRandom


def test_published_output():
  # rng(42); randperm(15) as a MATLAB R2017b user printed it.
  want = [11, 7, 6, 5, 15, 14, 1, 4, 9, 10, 3, 13, 8, 2, 12]
  assert [n + 1 for n in MatlabRandom(42).randperm(15)] == want


def test_seed_zero_is_the_default_state():
  # MATLAB's first numbers after start-up.
  first = [0.8147, 0.9058, 0.1270, 0.9134, 0.6324, 0.0975, 0.2785, 0.5469]
  assert MatlabRandom(0).randperm(8) == np.argsort(first).tolist()
  assert MatlabRandom(1).randperm(8) != MatlabRandom(0).randperm(8)


def test_a_sequence_goes_on():
  matlab = MatlabRandom(5)
  state = np.random.RandomState(5)
  for count in (4, 632, 1, 119):
    assert matlab.randperm(count) == np.argsort(state.rand(count)).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_is_a_permutation(count):
  assert sorted(MatlabRandom(10).randperm(count)) == list(range(count))
