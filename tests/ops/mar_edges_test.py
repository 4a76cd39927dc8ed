"""MAR's losses where something is missing: views, pairs, agents, variance."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import (
  cross_view,
  joint_embedding,
  mining,
  soft_multilabels,
)

RANDOM = np.random.default_rng(7)


def units(rows, dim=5):
  x = RANDOM.normal(size=(rows, dim))
  return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def labels(rows, agents=4):
  y = RANDOM.random((rows, agents)).astype(np.float32)
  return y / y.sum(1, keepdims=True)


CENTERS = cross_view.Centers(jnp.full(4, -1.0), jnp.full(4, 0.5))


def look(logs, views, num_views=3, **options):
  return cross_view.consistency(
    jnp.asarray(logs),
    jnp.asarray(views),
    CENTERS,
    num_views=num_views,
    momentum=0.25,
    **options,
  )


def test_a_view_with_one_image_takes_no_part():
  logs = np.log(labels(5))
  loss, moved = look(logs, [0, 0, 0, 1, 1])
  other, moved_too = look(
    np.concatenate([logs, np.log(labels(1))]), [0, 0, 0, 1, 1, 2]
  )
  np.testing.assert_array_equal(loss, other)
  np.testing.assert_array_equal(moved.mean, moved_too.mean)
  np.testing.assert_array_equal(moved.std, moved_too.std)


def test_one_view_alone_is_compared_with_the_centres():
  logs = np.log(labels(6))
  loss, moved = look(logs, [1] * 6)
  mean = 0.75 * -1.0 + 0.25 * logs.mean(0)
  std = 0.75 * 0.5 + 0.25 * logs.std(0, ddof=1)
  np.testing.assert_allclose(moved.mean, mean, rtol=1e-5)
  np.testing.assert_allclose(moved.std, std, rtol=1e-5)
  by_hand = ((logs.mean(0) - mean) ** 2).sum()
  by_hand = (by_hand + ((logs.std(0, ddof=1) - std) ** 2).sum()) / 2
  np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def test_without_a_view_of_two_images_nothing_happens():
  """The code raises there."""
  loss, moved = look(np.log(labels(3)), [0, 1, 2])
  assert loss == 0
  np.testing.assert_array_equal(moved.mean, CENTERS.mean)
  np.testing.assert_array_equal(moved.std, CENTERS.std)


def test_the_sum_over_views_is_their_number_times_the_mean():
  logs, views = np.log(labels(7)), [0, 0, 1, 1, 2, 2, 2]
  mean, total = (
    look(logs, views, reduction=how)[0] for how in cross_view.REDUCTIONS
  )
  np.testing.assert_allclose(total, 3 * mean, rtol=1e-6)
  with pytest.raises(ValueError, match="want one of"):
    look(logs, views, reduction="max")


def test_initial_centers_of_views_too_small_are_zero():
  centers = cross_view.initial_centers(
    jnp.log(jnp.asarray(labels(2))), jnp.arange(2), 2
  )
  assert not centers.mean.any()
  assert not centers.std.any()


def test_zero_variance_and_equal_features_have_finite_gradients():
  logs = jnp.tile(jnp.log(jnp.asarray(labels(1))), (4, 1))
  grad = jax.grad(lambda x: look(x, [0, 0, 1, 1])[0])(logs)
  assert np.isfinite(grad).all()
  assert grad.any()
  same = jnp.tile(jnp.asarray(units(1)), (4, 1))
  agents = jnp.concatenate([same[:1], jnp.asarray(units(1))])

  def loss_of(raw):
    f = soft_multilabels.project(raw)
    mined = mining.mine(f, jnp.asarray(labels(4)), jnp.asarray(0.5), ratio=0.5)
    return mining.discriminative(f, mined) + joint_embedding.joint_embedding(
      f[:2], jnp.zeros(2, int), f[2:], agents
    )

  assert np.isfinite(jax.grad(loss_of)(same)).all()
  assert np.isfinite(jax.grad(loss_of)(jnp.zeros_like(same))).all()


@pytest.mark.parametrize("ratio", [0.0, 0.01])
def test_a_ratio_that_mines_no_pair(ratio):
  """28 pairs: S is 0, the loss a constant, the threshold follows the most."""
  f, y = jnp.asarray(units(8)), labels(8)
  mined = mining.mine(f, jnp.asarray(y), jnp.asarray(0.5), ratio=ratio)
  assert mined.first.shape == mined.second.shape == mined.positive.shape == (0,)
  loss, grad = jax.value_and_grad(mining.discriminative)(f, mined)
  np.testing.assert_allclose(loss, np.log(1.5), rtol=1e-6)
  assert not grad.any()
  most = max(np.minimum(y[i], y[j]).sum() for i in range(8) for j in range(i))
  np.testing.assert_allclose(mined.threshold, 0.9 * 0.5 + 0.1 * most, rtol=1e-5)


def test_two_agents():
  f = jnp.asarray(units(6))
  agents = jnp.asarray(units(2))
  cosines = soft_multilabels.similarity(f, agents)
  y = jnp.exp(soft_multilabels.log_multilabels(cosines))
  np.testing.assert_allclose(y.sum(1), 1.0, rtol=1e-6)
  agreement = soft_multilabels.pairwise_agreement(y, y)
  np.testing.assert_allclose(
    agreement,
    1 - np.abs(np.subtract.outer(*2 * [np.asarray(y[:, 0])])),
    atol=1e-6,
  )
  loss = joint_embedding.agent_learning(cosines, jnp.arange(6) % 2)
  assert np.isfinite(loss)


def test_the_paper_form_of_the_joint_embedding():
  source, target, agents = units(3), units(4), units(5)
  who = np.array([0, 3, 4])
  gap = ((target[:, None] - agents[None]) ** 2).sum(-1)
  by_hand = np.maximum(0, 1 - gap)[gap < 1].sum()
  by_hand += ((source - agents[who]) ** 2).sum()
  loss = joint_embedding.joint_embedding(
    jnp.asarray(source),
    jnp.asarray(who),
    jnp.asarray(target),
    jnp.asarray(agents),
    form="paper",
  )
  np.testing.assert_allclose(loss, by_hand, rtol=1e-5)
  with pytest.raises(ValueError, match="want one of"):
    joint_embedding.joint_embedding(
      source, who, target, agents, form="published"
    )


def test_memory_writes_first_and_mixes_then():
  memory, seen = jnp.zeros((4, 3)), jnp.zeros(4, bool)
  first, second = labels(2, 3), labels(2, 3)
  off = soft_multilabels.remember(
    memory, seen, jnp.array([2, 0]), first, active=False
  )
  assert not off[0].any()
  assert not off[1].any()
  memory, seen = soft_multilabels.remember(
    memory, seen, jnp.array([2, 0]), first
  )
  np.testing.assert_array_equal(memory[jnp.array([2, 0])], first)
  memory, seen = soft_multilabels.remember(
    memory, seen, jnp.array([0, 1]), second, momentum=0.75
  )
  np.testing.assert_allclose(
    memory,
    [0.75 * first[1] + 0.25 * second[0], second[1], first[0], np.zeros(3)],
    rtol=1e-6,
  )
  np.testing.assert_array_equal(seen, [True, True, True, False])


def test_a_pair_too_few():
  with pytest.raises(ValueError, match="no pair"):
    mining.mine(units(1), labels(1), jnp.asarray(0.5))
