from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import restitution, restitution_loss
from metabin_jax.ops.restitution_loss import Pooled

PIDS = np.array([0, 0, 1, 1, 1, 2, 2, 3])


def draw(weight=1.0, seed=0, rows=8, dtype=np.float64):
  values = np.random.default_rng(seed).normal(0.5, 1, (3, rows, 6))
  return Pooled(*values.astype(dtype), weight)


def distance(a, b):
  return 0.5 - 0.5 * a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def softplus(v):
  return np.log1p(np.exp(v))


def triplets(given, pids):
  """(anchor, farthest positive, nearest negative) of every anchor with both."""
  for a, pid in enumerate(pids):
    positives = [i for i, p in enumerate(pids) if p == pid and i != a]
    negatives = [i for i, p in enumerate(pids) if p != pid]
    if positives and negatives:
      yield (
        a,
        max(positives, key=lambda i: distance(given[a], given[i])),
        min(negatives, key=lambda i: distance(given[a], given[i])),
      )


def naive(given, normalized, restored, contaminated, pids):
  """The four comparisons as the text has them."""
  total = 0.0
  for a, p, n in triplets(given, pids):
    near, far = (distance(normalized[a], normalized[i]) for i in (p, n))
    total += softplus(distance(restored[a], restored[p]) - near)
    total += softplus(far - distance(restored[a], restored[n]))
    total += softplus(near - distance(contaminated[a], contaminated[p]))
    total += softplus(distance(contaminated[a], contaminated[n]) - far)
  return total / len(pids)


def test_equals_the_text_with_every_map(float64):
  random = np.random.default_rng(3)
  x = random.normal(1, 1, (8, 4, 2, 6))
  scale, bias, *gate = (
    random.normal(0.5, 1, s) for s in ((6,), (6,), (6, 2), (2,), (2, 6), (6,))
  )
  maps = restitution.restitute(x, scale, bias, restitution.Gate(*gate))
  pool = [np.mean(v, (1, 2)) for v in (x, *maps)]
  given, restored, normalized, contaminated = pool
  # Why the normalized map needs no place in `Pooled`.
  np.testing.assert_allclose(normalized, np.tile(bias, (8, 1)), atol=1e-12)
  got = restitution_loss.restitution_loss(
    Pooled(given, restored, contaminated, 1.0), PIDS
  )
  want = naive(given, normalized, restored, contaminated, PIDS)
  np.testing.assert_allclose(got, want, rtol=1e-12)


def test_places_are_weighted_and_summed(float64):
  first, second = draw(0.1), draw(0.5, seed=1)
  alone = [
    restitution_loss.restitution_loss(v._replace(weight=1.0), PIDS)
    for v in (first, second)
  ]
  tree = {"backbone": {"stage1": (first,), "stage2": {"pooled": (second,)}}}
  got = restitution_loss.restitution_loss(tree, PIDS)
  np.testing.assert_allclose(got, 0.1 * alone[0] + 0.5 * alone[1], rtol=1e-12)


def test_a_good_split_costs_less(float64):
  """F+ alike within persons and unlike between them, F- the other way."""
  good = np.eye(4)[PIDS]
  bad = np.stack([np.eye(8)[i] for i in (0, 1, 0, 1, 2, 0, 1, 0)])
  given = np.concatenate([good, bad], 1)
  right = restitution_loss.restitution_loss(Pooled(given, good, bad, 1.0), PIDS)
  wrong = restitution_loss.restitution_loss(Pooled(given, bad, good, 1.0), PIDS)
  assert right < wrong


def test_anchors_without_a_triplet_count_nothing(float64):
  pooled = draw(rows=3)
  for pids in ([0, 0, 0], [0, 1, 2]):
    loss = restitution_loss.restitution_loss(pooled, np.array(pids))
    assert loss == 0
  # The third image is a negative, but no anchor.
  pids = np.array([4, 4, 9])
  dummy = np.ones((3, 6))
  want = naive(pooled.given, dummy, *pooled[1:3], pids)
  got = restitution_loss.restitution_loss(pooled, pids)
  np.testing.assert_allclose(got, want, rtol=1e-12)


def test_gradients_reach_what_is_compared_only(float64):
  grads = jax.grad(
    lambda v: restitution_loss.restitution_loss(Pooled(*v, 1.0), PIDS)
  )(draw()[:3])
  np.testing.assert_array_equal(grads[0], np.zeros((8, 6)))
  for grad in grads[1:]:
    assert np.all(np.isfinite(grad))
    assert np.max(np.abs(grad)) > 1e-3


def test_maps_that_are_zero_have_no_gradient():
  pooled = draw(dtype=np.float32)
  zero = jnp.zeros((8, 6))
  loss, grad = jax.value_and_grad(
    lambda v: restitution_loss.restitution_loss(
      pooled._replace(restored=v, contaminated=v), PIDS
    )
  )(zero)
  assert loss.dtype == jnp.float32
  assert np.isfinite(loss)
  np.testing.assert_array_equal(grad, zero)


def test_cosine_distances(float64):
  got = restitution_loss.cosine_distances(
    jnp.array([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0]])
  )
  want = [[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]]
  np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("tree", [(), {}, {"stage1": (np.ones((2, 3)),)}])
def test_no_restitution_layers(tree):
  with pytest.raises(ValueError, match="use norm 'snr'"):
    restitution_loss.restitution_loss(tree, PIDS)
