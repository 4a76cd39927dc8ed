from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules

from metabin_jax.methods import optim

EPOCH = 1849
LOW, HIGH, PERIOD = 0.001, 0.1, 5 * EPOCH


@pytest.fixture
def golden():
  with rules.load("e_schedules.npz") as file:
    yield {key: file[key] for key in file.files}


def released_rate():
  """DG-mobilenet.yml: 10 epochs of warm-up, milestones 40 and 70."""
  return optim.warmup_multistep(
    0.01,
    warmup_steps=10 * EPOCH,
    warmup_factor=0.01,
    milestones_steps=(40 * EPOCH, 70 * EPOCH),
  )


def test_learning_rates(agree, float64, golden):
  rate = jax.jit(released_rate())
  for steps, want in (
    (golden["iterations"], golden["lr_weight"]),
    (golden["full_lr_iters"], golden["full_lr"]),
  ):
    got = rate(jnp.asarray(steps))
    error = np.max(np.abs(np.asarray(got) / want - 1))
    agree("schedules float64", error, 1e-12)
  # Biases learn at twice the rate; `apply_params` holds the factor.
  np.testing.assert_allclose(
    golden["lr_bias"], 2 * golden["lr_weight"], rtol=1e-12
  )


def test_cycle_and_inner_step(agree, float64, golden):
  steps = jnp.asarray(golden["iterations"])
  assert int(golden["cyclic_total_size"]) == PERIOD
  options = {"low": LOW, "high": HIGH, "period_steps": PERIOD}
  # The paper's inner step is the cycle itself, the released one a tenth.
  for scale, name in ((1.0, "cyclic_value"), (0.1, "inner_step_size")):
    got = jax.jit(optim.make_beta_schedule(**options, scale=scale))(steps)
    error = np.max(np.abs(np.asarray(got) / golden[name] - 1))
    agree("schedules float64", error, 1e-12)
  cycle = optim.triangular_cycle(LOW, HIGH, PERIOD)
  np.testing.assert_allclose(cycle(0), LOW, rtol=1e-12)
  np.testing.assert_allclose(cycle(PERIOD // 2), HIGH, rtol=1e-12)
  np.testing.assert_allclose(cycle(PERIOD), LOW, rtol=1e-12)


def test_float32_schedules(agree, golden):
  steps = jnp.asarray(golden["iterations"], jnp.int32)
  beta = optim.make_beta_schedule(
    low=LOW, high=HIGH, period_steps=PERIOD, scale=0.1
  )
  for schedule, name in (
    (released_rate(), "lr_weight"),
    (beta, "inner_step_size"),
  ):
    want = golden[name]
    error = np.max(np.abs(np.asarray(jax.jit(schedule)(steps)) / want - 1))
    agree("schedules float32", error, 1e-5)


def test_fixed_beta_is_scaled():
  beta = optim.make_beta_schedule(
    low=LOW, high=HIGH, period_steps=PERIOD, fixed=10.0, scale=0.1
  )
  assert float(beta(5)) == pytest.approx(1.0)


def test_no_warmup():
  rate = optim.warmup_multistep(
    0.5, warmup_steps=0, warmup_factor=0.01, milestones_steps=(3,)
  )
  np.testing.assert_allclose(
    [float(rate(i)) for i in range(5)], [0.5, 0.5, 0.5, 0.05, 0.05], rtol=1e-6
  )


def test_cosine():
  rate = jax.jit(
    optim.warmup_cosine(0.5, warmup_steps=2, warmup_factor=0.1, total_steps=8)
  )
  wave = 0.25 * (1 + np.cos(np.pi * np.arange(8) / 8))
  want = [*(wave * [0.1, 0.55, 1, 1, 1, 1, 1, 1]), 0.0, 0.0]
  got = [float(rate(i)) for i in range(10)]
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-8)
  assert got[8:] == [0, 0]
  cold = optim.warmup_cosine(
    0.5, warmup_steps=0, warmup_factor=0.1, total_steps=8
  )
  assert float(cold(0)) == 0.5


def test_period_must_hold_a_triangle():
  with pytest.raises(ValueError, match="period_steps is 1, want at least 2"):
    optim.triangular_cycle(0.1, 0.2, 1)


def tree(seed):
  random = np.random.default_rng(seed)
  return {
    "backbone": {
      "conv": {"kernel": random.normal(size=(3, 2))},
      "bn": {
        "bn_scale": random.normal(size=3),
        "bn_bias": random.normal(size=3),
        "in_bias": random.normal(size=3),
      },
      "shared": {"bias": random.normal(size=3)},
    },
    "neck": {
      "bn_scale": random.normal(size=4),
      "bn_bias": random.normal(size=4),
    },
    "classifier": random.normal(size=(4, 2)),
  }


def test_rate_factors():
  factors = optim.rate_factors(tree(0))
  assert factors == {
    "backbone": {
      "conv": {"kernel": 1.0},
      "bn": {"bn_scale": 1.0, "bn_bias": 2.0, "in_bias": 2.0},
      "shared": {"bias": 2.0},
    },
    "neck": {"bn_scale": 1.0, "bn_bias": 0.0},
    "classifier": 1.0,
  }
  assert optim.rate_factors(tree(0), 3.0)["backbone"]["shared"]["bias"] == 3
  tenfold = optim.rate_factors(tree(0), 2.0, 10.0)
  assert tenfold == {**factors, "classifier": 10.0}


def torch_sgd(weights, grads, rates, momentum=0.9, decay=5e-4):
  """The loop in torch.optim.SGD, one tensor, a rate per step."""
  buffer = None
  for grad, rate in zip(grads, rates, strict=True):
    moved = grad + decay * weights
    buffer = moved if buffer is None else momentum * buffer + moved
    weights = weights - rate * buffer
  return weights


def test_updates_equal_torch(float64):
  rates = [0.1, 0.02, 0.3, 0.05]
  start = jax.tree.map(jnp.asarray, tree(0))
  gradients = [tree(i + 1) for i in range(len(rates))]
  tx = optim.make_params_tx()
  params, opt_state = start, tx.init(start)
  for grads, rate in zip(gradients, rates, strict=True):
    grads = jax.tree.map(jnp.asarray, grads)
    params, opt_state = optim.apply_params(
      tx, grads, opt_state, params, jnp.asarray(rate)
    )
  factors = optim.rate_factors(start)
  want = jax.tree.map(
    lambda w, factor, *g: torch_sgd(
      np.asarray(w), g, [factor * r for r in rates]
    ),
    start,
    factors,
    *gradients,
  )
  for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-13)
  # Bit-identical, not merely close: decay must not creep in either.
  np.testing.assert_array_equal(
    params["neck"]["bn_bias"], start["neck"]["bn_bias"]
  )


def test_projection():
  rho = {"a": jnp.array([-0.1, 0.0, 0.4]), "b": jnp.array([1.0, 1.7])}
  got = optim.project(rho)
  np.testing.assert_array_equal(got["a"], np.float32([0, 0, 0.4]))
  np.testing.assert_array_equal(got["b"], np.float32([1, 1]))
