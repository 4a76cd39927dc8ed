from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from metabin_jax.ops import collectives
from metabin_jax.ops.collectives import BATCH, BATCH_DEVICE_MOMENTS

ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
AXES = (BATCH, BATCH_DEVICE_MOMENTS)


def mapped(function, axis, out=None):
  """`function` of ROWS, two rows on each of four devices."""
  mesh = Mesh(np.array(jax.devices()[:4]), (axis,))
  program = jax.shard_map(
    function,
    mesh=mesh,
    in_specs=PartitionSpec(axis),
    out_specs=PartitionSpec(*([axis] if out == "rows" else [])),
    check_vma=False,
  )
  return jax.jit(program)(ROWS)


def test_whole_arrays_pass_through():
  assert collectives.axis() is None
  assert collectives.moments_axis() is None
  assert collectives.num_devices() == 1
  assert collectives.mean(ROWS) is ROWS
  assert collectives.gather(ROWS) is ROWS


def test_another_axis_is_not_ours():
  rows = jax.vmap(collectives.gather, axis_name="other")(jnp.asarray(ROWS))
  assert rows.shape == ROWS.shape


@pytest.mark.parametrize("axis", AXES)
def test_the_bound_axis(axis):
  seen = []

  def look(rows):
    seen.append((collectives.axis(), collectives.moments_axis()))
    return rows.sum() * 0 + collectives.num_devices()

  assert mapped(look, axis) == 4
  assert seen == [(axis, BATCH if axis == BATCH else None)]


@pytest.mark.parametrize("axis", AXES)
def test_rows_come_in_order_and_scalars_stay(axis):
  def collect(rows):
    tree = collectives.gather({"rows": rows, "pid": rows[:, 0], "weight": 0.5})
    return tree

  got = mapped(collect, axis)
  np.testing.assert_array_equal(got["rows"], ROWS)
  np.testing.assert_array_equal(got["pid"], ROWS[:, 0])
  assert float(got["weight"]) == 0.5


@pytest.mark.parametrize("axis", AXES)
def test_mean_of_a_tree(axis):
  got = mapped(lambda r: collectives.mean({"m": r.mean(0), "s": r.sum()}), axis)
  np.testing.assert_allclose(got["m"], ROWS.mean(0), rtol=1e-6)
  np.testing.assert_allclose(got["s"], ROWS.sum() / 4, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("axis", AXES)
def test_gradients_of_the_whole_batch(axis, order):
  """Of a loss that compares every row with every other one."""
  weights = jnp.asarray([[0.3, -0.2, 0.9]])

  def gradient(rows):
    def loss(w):
      features = collectives.gather(jnp.tanh(rows * w))
      gap = features[:, None] - features[None]
      return collectives.mean(jnp.mean(jnp.sum(gap**2, -1) ** 2)), ()

    first = collectives.value_and_grad(loss)
    if order == 1:
      return first(weights)[1]

    def through(w):
      (value, _), inner = first(w)
      return loss(w - 0.5 * inner)[0] + value, ()

    return collectives.value_and_grad(through)(weights)[1]

  want = jax.jit(gradient)(ROWS)
  assert float(jnp.abs(want).min()) > 1e-2
  np.testing.assert_allclose(mapped(gradient, axis), want, rtol=2e-5)


def test_two_arguments_and_what_comes_beside_the_loss():
  def run(rows):
    def loss(a, b):
      return collectives.mean((a * rows * b).sum()), rows.shape[0]

    return collectives.value_and_grad(loss, (0, 1))(2.0, 3.0)

  (value, count), grads = run(ROWS)
  assert count == 8
  total = ROWS.sum()
  np.testing.assert_allclose(value, 6 * total, rtol=1e-6)
  np.testing.assert_allclose(grads, (3 * total, 2 * total), rtol=1e-6)
