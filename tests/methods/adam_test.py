"""Adam, AMSGrad and Nesterov's momentum against PyTorch's loops in NumPy."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.methods import adam, optim

RATES = (0.1, 0.02, 0.3, 0.05, 0.07)
DECAY = 0.3


def tree(seed):
  random = np.random.default_rng(seed)
  shrink = 0.5**seed  # falling gradients: the largest square is an old one
  return {
    "backbone": {
      "kernel": shrink * random.normal(size=(3, 2)),
      "bn_bias": shrink * random.normal(size=3),
    },
    "neck": {"bn_bias": shrink * random.normal(size=2)},
    "classifier": shrink * random.normal(size=(2, 4)),
  }


def torch_adam(
  weights, grads, rates, beta1=0.9, beta2=0.999, epsilon=1e-8, amsgrad=False
):
  """The loop in torch.optim.Adam, a rate for each step."""
  mean = square = largest = np.zeros_like(weights)
  for t, (grad, rate) in enumerate(zip(grads, rates, strict=True), 1):
    grad = grad + DECAY * weights
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    largest = np.maximum(largest, square) if amsgrad else square
    root = np.sqrt(largest) / np.sqrt(1 - beta2**t) + epsilon
    weights = weights - rate / (1 - beta1**t) * mean / root
  return weights


def torch_nesterov(weights, grads, rates, momentum=0.7):
  """The loop in torch.optim.SGD with nesterov=True."""
  buffer = None
  for grad, rate in zip(grads, rates, strict=True):
    grad = grad + DECAY * weights
    buffer = grad if buffer is None else momentum * buffer + grad
    weights = weights - rate * (grad + momentum * buffer)
  return weights


@pytest.mark.parametrize(
  ("options", "torch_loop"),
  [
    ({"optimizer": "adam"}, torch_adam),
    (
      {"optimizer": "amsgrad"},
      functools.partial(torch_adam, amsgrad=True),
    ),
    ({"nesterov": True, "momentum": 0.7}, torch_nesterov),
  ],
)
def test_updates_equal_torch(float64, options, torch_loop):
  tx = optim.make_params_tx(weight_decay=DECAY, **options)
  params = start = jax.tree.map(jnp.asarray, tree(0))
  gradients = [tree(i) for i in (1, 2, 4, 5, 3)]
  opt_state = tx.init(start)
  update = jax.jit(
    lambda grads, opt_state, params, rate: optim.apply_params(
      tx, grads, opt_state, params, rate, 2.0, 10.0
    )
  )
  for grads, rate in zip(gradients, RATES, strict=True):
    params, opt_state = update(grads, opt_state, params, rate)
  factors = {"kernel": 1.0, "bn_bias": 2.0, "classifier": 10.0}

  def want(path, weights, *grads):
    if path[0].key == "neck":
      return weights
    factor = factors[path[-1].key]
    rates = [factor * rate for rate in RATES]
    return torch_loop(np.asarray(weights), grads, rates)

  expected = jax.tree_util.tree_map_with_path(want, start, *gradients)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11),
    params,
    expected,
  )


def test_by_hand_in_float32():
  """Gradients 2, then 1, one weight: t = 1 gives 1, the sign."""
  tx = adam.scale_by_adam(amsgrad=True)
  weight = jnp.zeros((), jnp.float32)
  state = tx.init(weight)
  first, state = tx.update(jnp.float32(2.0), state)
  assert float(first) == pytest.approx(1.0, rel=1e-6)
  second, state = tx.update(jnp.float32(1.0), state)
  # m = 0.9 * 0.2 + 0.1 = 0.28; v = 0.999 * 0.004 + 0.001 is the largest.
  want = 0.28 / (1 - 0.81) / np.sqrt(0.004996 / (1 - 0.999**2))
  assert float(second) == pytest.approx(want, rel=1e-6)
  # v has fallen below 0.004996 here, and a gradient of zero moves on.
  third, _ = tx.update(jnp.float32(0.0), state)
  want = 0.252 / (1 - 0.729) / np.sqrt(0.004996 / (1 - 0.999**3))
  assert float(third) == pytest.approx(want, rel=1e-6)
  assert state.count.dtype == jnp.int32


def test_no_buffer_is_shared():
  """A state that is donated must not hold an array twice."""
  state = adam.scale_by_adam(amsgrad=True).init({"a": jnp.zeros(3)})
  donate = jax.jit(lambda s: s, donate_argnums=0)
  assert int(donate(state).count["a"]) == 0


def test_optimizers_that_do_not_exist():
  with pytest.raises(ValueError, match="optimizer is 'lion', want one of"):
    optim.make_params_tx(optimizer="lion")
  for options in ({"optimizer": "amsgrad"}, {"momentum": 0.0}):
    with pytest.raises(ValueError, match="nesterov is for optimizer 'sgd'"):
      optim.make_params_tx(nesterov=True, **options)
