"""The pictures that are rendered into memory."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data import sample_pictures


def test_as_many_as_asked_for_and_always_the_same():
  pictures = sample_pictures.draw(3, 32, 16)
  assert pictures.shape == (3, 32, 16, 3)
  assert pictures.dtype == np.uint8
  np.testing.assert_array_equal(sample_pictures.draw(2, 32, 16), pictures[:2])
  assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize("count", [0, 10_000])
def test_fewer_pictures_than_asked_for_are_refused(count):
  with pytest.raises(ValueError, match=f"not {count}"):
    sample_pictures.draw(count, 32, 16)
