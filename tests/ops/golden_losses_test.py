"""Losses against the reference's, values and gradients.

A float32 limit is `FLOAT32` times the reference's own float32 error on the
same array, plus a few roundings of the largest value.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from golden import rules

from metabin_jax.ops import distances, losses

FLOAT64_LIMIT = 1e-11
FLOAT32 = 4
ROUNDINGS = 8 * 2.0**-24
SETS = ("regular", "ragged", "ties", "close", "xdom_id")
LOSSES = {
  "triplet": lambda x, pid, domain: losses.triplet(x, pid),
  "shuffle": losses.shuffle,
  "scatter": lambda x, pid, domain: losses.scatter(x, domain),
  "scatter_nonorm": lambda x, pid, domain: losses.scatter(
    x, domain, normalize=False
  ),
}


@pytest.fixture(scope="module")
def golden():
  with rules.load("b_losses.npz") as file:
    yield {key: file[key] for key in file.files}


@functools.cache
def value_and_grad(name):
  return jax.jit(jax.value_and_grad(LOSSES[name]))


@functools.cache
def cross_entropy(smoothing):
  return jax.jit(
    jax.value_and_grad(
      functools.partial(losses.cross_entropy, smoothing=smoothing)
    )
  )


def results(golden, group, dtype):
  x = golden[f"{group}/emb"].astype(dtype)
  pid, domain = (
    golden[f"{group}/{n}"].astype(np.int32) for n in ("pid", "dom")
  )
  for name in LOSSES:
    value, grad = value_and_grad(name)(x, pid, domain)
    yield name, value
    yield f"{name}_grad", grad
  yield "dist", distances.pairwise_euclidean(x, x)


def entropy_results(golden, group, dtype):
  logits = golden[f"{group}/logits"].astype(dtype)
  targets = golden[f"{group}/targets"].astype(np.int32)
  for name, smoothing in (("eps0.1", 0.1), ("eps0", 0.0)):
    value, grad = cross_entropy(smoothing)(logits, targets)
    yield name, value
    if group == "ce20":
      yield f"{name}_grad", grad
    else:
      wide = np.asarray(grad, np.float64)
      yield (
        f"{name}_grad_summary",
        np.array([wide.sum(), np.linalg.norm(wide), np.abs(wide).max()]),
      )


def compare(agree, golden, group, dtype, pairs):
  for name, got in pairs:
    want = golden[f"{group}/f64/{name}"]
    error = rules.relative_error(got, want)
    kind = "gradients" if "_grad" in name else "values"
    if dtype == np.float64:
      agree(f"losses float64: {kind}", error, FLOAT64_LIMIT)
      continue
    gap = golden[f"{group}/gap/{name}"] / max(np.max(np.abs(want)), 1e-30)
    agree(f"losses float32: {kind}", error, FLOAT32 * gap + ROUNDINGS)


@pytest.mark.parametrize("group", SETS)
def test_metric_losses_float64(agree, golden, float64, group):
  pairs = results(golden, group, np.float64)
  compare(agree, golden, group, np.float64, pairs)


@pytest.mark.parametrize("group", SETS)
def test_metric_losses_float32(agree, golden, group):
  pairs = results(golden, group, np.float32)
  compare(agree, golden, group, np.float32, pairs)


@pytest.mark.parametrize("group", ["ce20", "ce3000"])
def test_cross_entropy_float64(agree, golden, float64, group):
  pairs = entropy_results(golden, group, np.float64)
  compare(agree, golden, group, np.float64, pairs)


@pytest.mark.parametrize("group", ["ce20", "ce3000"])
def test_cross_entropy_float32(agree, golden, group):
  pairs = entropy_results(golden, group, np.float32)
  compare(agree, golden, group, np.float32, pairs)
