from __future__ import annotations

import pytest

from metabin_jax.cli import data_options

SPECS = ("viper:D", "dukemtmc:D?use=all", "folder:photos/shop")


@pytest.mark.parametrize(
  ("allow_partial", "licensed_copy", "want"),
  [
    (False, False, SPECS),
    (
      True,
      False,
      (
        "viper:D?partial=allow",
        "dukemtmc:D?use=all&partial=allow",
        "folder:photos/shop",
      ),
    ),
    (
      False,
      True,
      ("viper:D", "dukemtmc:D?use=all&licensed_copy=yes", "folder:photos/shop"),
    ),
  ],
)
def test_flags_go_into_the_descriptions(allow_partial, licensed_copy, want):
  found = data_options.apply(
    SPECS, allow_partial=allow_partial, licensed_copy=licensed_copy
  )
  assert found == want


def test_a_key_that_is_there_stays():
  spec = "viper:D?partial=no"
  assert data_options.apply([spec], allow_partial=True, licensed_copy=True) == (
    spec,
  )
