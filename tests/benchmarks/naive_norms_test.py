"""What ours is measured against computes the same."""

from __future__ import annotations

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_run

from metabin_jax.methods import joint, metabin
from metabin_jax.models import registry

for folder in ("experiments/benchmarks", "tests/methods"):
  sys.path.append(str(tiny_run.REPOSITORY / folder))
naive_norms = importlib.import_module("naive_norms")
tiny = importlib.import_module("tiny")

RATE = optax.constant_schedule(0.05)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
  registry.norms()  # loads our own arms, which must outlive the copy
  monkeypatch.setattr(registry, "_norms", dict(registry._norms))
  naive_norms.register()


def base_step(norm):
  return joint.make_base_step(
    tiny.network(norm), tiny.BASE, tiny.make_state(norm)[1], RATE
  )


def meta_step(order):
  def make(norm):
    return metabin.make_meta_step(
      tiny.network(norm),
      tiny.MTRAIN,
      tiny.MTEST,
      tiny.make_state(norm)[2],
      RATE,
      second_order=order != "first",
      second_order_by="forward" if order == "forward" else "reverse",
    )

  return make


@pytest.mark.parametrize(
  ("make", "domains"),
  [
    (base_step, [(0, 1, 2)]),
    (meta_step("first"), [(0, 1), (2,)]),
    pytest.param(meta_step("reverse"), [(0, 1), (2,)], marks=pytest.mark.slow),
  ],
)
def test_steps_of_both_forms_are_equal(make, domains):
  batches = [tiny.batch(7, chosen) for chosen in domains]
  start = tiny.make_state("bin")[0]
  ours, naive = (
    jax.jit(make(norm))(start, *batches) for norm in ("bin", "bin_naive")
  )
  changes = [
    jax.tree.map(lambda a, b: np.asarray(a - b, float), after[0], start)
    for after in (ours, naive)
  ]
  largest = 0.0
  for got, want in zip(*map(jax.tree.leaves, changes), strict=True):
    scale = np.abs(want).max(initial=0)
    # One float32 unit of values around 1 is 6e-8: changes have no more digits.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * scale + 1.2e-7)
    largest = max(largest, scale)
  assert largest > 1e-3


@pytest.mark.parametrize("mode", ["update", "hold", "eval"])
def test_outputs_and_gradients_agree(mode, float64):
  variables = tiny.variables("bin", jnp.float64)
  image = tiny.batch(3).image

  def loss(norm):
    def run(params, balance):
      outputs, moved = tiny.network(norm, jnp.float64).apply(
        {**variables, "params": params, "balance": balance},
        image,
        mode=mode,
        mutable=["batch_stats"],
      )
      return jnp.sum(jnp.sin(outputs.embedding)), moved

    return jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True))

  args = variables["params"], variables["balance"]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-9, atol=1e-9 * np.abs(a).max(initial=0)
    ),
    loss("bin")(*args),
    loss("bin_naive")(*args),
  )
