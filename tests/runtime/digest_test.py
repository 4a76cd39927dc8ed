from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from metabin_jax.runtime.digest import canonical_json, digest_leaves

LEAVES = {
  ("a", "w"): np.arange(6, dtype=np.float32).reshape(2, 3),
  ("b",): np.zeros(2, ml_dtypes.bfloat16),
  ("c",): np.zeros((0, 2)),
}


def test_is_sha_256_of_headers_bytes_and_notes():
  # By hand: sha256(b'[["b"],[2],"uint8"]\n' + b"\x01\x02" + b'{"step":1}\n').
  got = digest_leaves({("b",): np.array([1, 2], np.uint8)}, {"step": 1})
  assert got == (
    "5dbc056866db9194561e68de9167a80aa924172396424d5c408704051b3cb808"
  )


def test_order_and_memory_layout_do_not_matter():
  turned = dict(reversed(LEAVES.items()))
  turned["a", "w"] = np.asfortranarray(turned["a", "w"])
  assert digest_leaves(turned, {}) == digest_leaves(LEAVES, {})


@pytest.mark.parametrize(
  "change",
  [
    {("b",): np.array([0.0, -0.0], ml_dtypes.bfloat16)},
    {("b",): np.zeros(2, np.float16)},
    {("b",): np.zeros((2, 1), ml_dtypes.bfloat16)},
    {("a", "w"): np.arange(6, dtype=np.float32).reshape(3, 2)},
    {("c",): np.zeros((0, 3))},
    {("d",): np.zeros(0)},
  ],
)
def test_any_change_shows(change):
  assert digest_leaves(LEAVES | change, {}) != digest_leaves(LEAVES, {})


def test_names_do_not_run_together():
  value = np.zeros(1)
  one, two = {("a", "b"): value}, {("a/b",): value}
  assert digest_leaves(one, {}) != digest_leaves(two, {})


def test_notes_are_covered():
  assert digest_leaves(LEAVES, {"step": 1}) != digest_leaves(
    LEAVES, {"step": 2}
  )


def test_canonical_json():
  assert canonical_json({"b": 1, "a": [1.5]}) == b'{"a":[1.5],"b":1}\n'
  with pytest.raises(ValueError, match="JSON"):
    canonical_json(float("inf"))
