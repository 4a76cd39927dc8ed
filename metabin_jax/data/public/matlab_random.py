"""MATLAB's random permutations, for split lists that MATLAB scripts drew."""

from __future__ import annotations

import numpy as np

# rng(0) starts the Mersenne Twister where it starts by default.
_DEFAULT_SEED = 5489


class MatlabRandom:
  """The random numbers of MATLAB after `rng(seed)`."""

  def __init__(self, seed: int):
    """Starts the sequence.

    Args:
      seed: argument of `rng`, >= 0.
    """
    self._state = np.random.RandomState(seed or _DEFAULT_SEED)

  def randperm(self, count: int) -> list[int]:
    """The next `randperm(count)`, counted from 0.

    Args:
      count: how many numbers, >= 0.

    Returns:
      A permutation of 0 .. count - 1.

    Source: MATLAB sorts `rand(1, count)` and returns the order; its default
      generator and NumPy's RandomState give the same `rand`. Checked against
      published outputs of `rng(42); randperm(15)` and of the first numbers
      after `rng(0)`, not against MATLAB itself for longer permutations.
    """
    return np.argsort(self._state.random_sample(count), kind="stable").tolist()
