"""Losses against loops written from the paper, and their edge cases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import losses


def softplus(x):
  return np.logaddexp(0.0, x)


def naive_triplet(x, pids, margin):
  total = 0.0
  for i in range(len(x)):
    distance = np.linalg.norm(x - x[i], axis=1)
    positive = max(distance[j] for j in range(len(x)) if pids[j] == pids[i])
    negative = min(distance[j] for j in range(len(x)) if pids[j] != pids[i])
    total += max(0.0, positive - negative + margin)
  return total / len(x)


def naive_shuffle(x, pids, domains):
  total = 0.0
  for i in range(len(x)):
    distance = np.linalg.norm(x - x[i], axis=1)
    rows = range(len(x))
    inter = [distance[j] for j in rows if domains[j] != domains[i]]
    intra = [
      distance[j]
      for j in rows
      if domains[j] == domains[i] and pids[j] != pids[i]
    ]
    if intra:
      total += softplus(max(inter, default=0.0) - min(intra))
  return total / len(x)


def naive_scatter(x, domains, normalize):
  unit = x / np.linalg.norm(x, axis=1, keepdims=True)
  means = []
  for domain in np.unique(domains):
    members = (unit if normalize else x)[domains == domain]
    center = members.mean(0) / np.linalg.norm(members.mean(0))
    means.append(np.mean(unit[domains == domain] @ center))
  return np.mean(means)


def naive_cross_entropy(logits, labels, smoothing, spread):
  total = 0.0
  classes = logits.shape[1]
  for row, label in zip(logits, labels, strict=True):
    log_p = row - np.log(np.sum(np.exp(row)))
    if spread == "others":
      target = np.full(classes, smoothing / (classes - 1))
      target[label] = 1 - smoothing
    else:
      target = np.full(classes, smoothing / classes)
      target[label] += 1 - smoothing
    assert target.sum() == pytest.approx(1)
    total -= np.sum(target * log_p)
  return total / len(logits)


def draw(seed, rows=15, width=7, persons=4, domains=3):
  """Embeddings of unequal group sizes; every domain has two persons."""
  random = np.random.default_rng(seed)
  doms = np.concatenate([np.repeat(np.arange(domains), 3)])
  doms = np.concatenate([doms, random.integers(0, domains, rows - len(doms))])
  pids = random.integers(0, persons, rows)
  pids[: 3 * domains] = np.tile([0, 1, 0], domains)
  order = random.permutation(rows)
  x = random.normal(0, 1, (rows, width)) + random.normal(0, 1, width)
  return x, pids[order].astype(np.int32), doms[order].astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_naive_loops(float64, seed):
  x, pids, domains = draw(seed)
  for margin in (0.0, 0.3, 2.0):
    got = losses.triplet(x, pids, margin=margin)
    assert float(got) == pytest.approx(
      naive_triplet(x, pids, margin), rel=1e-12
    )
  got = losses.shuffle(x, pids, domains)
  assert float(got) == pytest.approx(naive_shuffle(x, pids, domains), rel=1e-12)
  for normalize in (True, False):
    got = losses.scatter(x, domains, normalize=normalize)
    want = naive_scatter(x, domains, normalize)
    assert float(got) == pytest.approx(want, rel=1e-11)


@pytest.mark.parametrize("spread", ["others", "all"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_equals_a_naive_loop(float64, smoothing, spread):
  random = np.random.default_rng(0)
  logits = random.normal(0, 3, (6, 9))
  labels = random.integers(0, 9, 6).astype(np.int32)
  got = losses.cross_entropy(logits, labels, smoothing=smoothing, spread=spread)
  want = naive_cross_entropy(logits, labels, smoothing, spread)
  assert float(got) == pytest.approx(want, rel=1e-12)


def test_spread_over_all_is_the_other_spread_with_less_mass(float64):
  # smoothing / K everywhere = smoothing (K - 1) / K spread over the others.
  logits = np.random.default_rng(0).normal(0, 3, (6, 9))
  labels = np.arange(6, dtype=np.int32)
  everywhere = losses.cross_entropy(logits, labels, smoothing=0.1, spread="all")
  others = losses.cross_entropy(logits, labels, smoothing=0.1 * 8 / 9)
  assert float(everywhere) == pytest.approx(float(others), rel=1e-12)


def test_cross_entropy_of_extreme_logits_is_finite():
  logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
  labels = np.array([0, 0], np.int32)
  value, grad = jax.value_and_grad(losses.cross_entropy)(logits, labels)
  # Row 0: 0.1 * 2e4, row 1: 0.9 * 2e4.
  assert float(value) == pytest.approx(1e4)
  assert np.all(np.isfinite(grad))


def test_hand_computed_values():
  x = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
  pids = np.array([0, 0, 1, 1], np.int32)
  domains = np.array([0, 1, 0, 1], np.int32)
  # Positives 1 1 4 4, negatives 3 2 2 6: only the third anchor is active.
  assert float(losses.triplet(x, pids, margin=0.5)) == pytest.approx(2.5 / 4)
  # Other domain, farthest: 7 2 4 7; own domain, other person: 3 6 3 6.
  gaps = np.array([7 - 3, 2 - 6, 4 - 3, 7 - 6])
  want = np.mean(softplus(gaps))
  assert float(losses.shuffle(x, pids, domains)) == pytest.approx(want)


def test_scatter_bounds():
  same = np.ones((4, 3), np.float32)
  domains = np.array([0, 0, 1, 1], np.int32)
  assert float(losses.scatter(same, domains)) == pytest.approx(1)
  corners = np.eye(4, dtype=np.float32)
  # Two orthogonal rows lie 45 degrees off their centroid.
  assert float(losses.scatter(corners, domains)) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("name", ["triplet", "shuffle", "scatter"])
def test_row_order_does_not_matter(name):
  x, pids, domains = draw(3)
  x = x.astype(np.float32)
  order = np.random.default_rng(1).permutation(len(x))

  def run(x, pids, domains):
    if name == "triplet":
      return losses.triplet(x, pids)
    if name == "shuffle":
      return losses.shuffle(x, pids, domains)
    return losses.scatter(x, domains)

  a = run(x, pids, domains)
  b = run(x[order], pids[order], domains[order])
  # Neither do the labels themselves.
  c = run(x, pids + 7, 5 - domains)
  np.testing.assert_allclose([b, c], [a, a], rtol=1e-6)


@pytest.mark.parametrize("kind", ["one person", "one domain", "singletons"])
def test_degenerate_batches_are_finite(kind):
  x, pids, domains = draw(4)
  x = x.astype(np.float32)
  if kind == "one person":
    pids = np.zeros_like(pids)
  elif kind == "one domain":
    domains = np.zeros_like(domains)
  else:
    pids = np.arange(len(pids), dtype=np.int32)

  def total(x):
    return (
      losses.triplet(x, pids)
      + losses.shuffle(x, pids, domains)
      + losses.scatter(x, domains)
    )

  value, grad = jax.value_and_grad(total)(x)
  assert np.isfinite(value)
  assert np.all(np.isfinite(grad))


def test_documented_values_of_degenerate_batches():
  x, pids, domains = draw(5)
  x = x.astype(np.float32)
  alone = np.zeros_like(pids)
  assert float(losses.triplet(x, alone)) == 0
  assert float(losses.shuffle(x, alone, domains)) == 0
  # One domain: the anchor itself is the fallback, at distance (nearly) 0.
  one = np.zeros_like(domains)
  distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
  distance[pids[:, None] == pids[None]] = np.inf
  want = np.mean(softplus(-distance.min(1)))
  got = losses.shuffle(x, pids, one)
  assert float(got) == pytest.approx(want, rel=1e-5)
  # A domain per image: every image is its own centroid.
  every = np.arange(len(x), dtype=np.int32)
  assert float(losses.scatter(x, every)) == pytest.approx(1)
  # A person with one image has no positive distance.
  single = losses.triplet(x, every, margin=0.0)
  assert float(single) == pytest.approx(0, abs=1e-6)


def test_identical_embeddings_are_finite():
  x = np.ones((6, 4), np.float32)
  pids = np.array([0, 0, 1, 1, 2, 2], np.int32)
  domains = np.array([0, 0, 0, 1, 1, 1], np.int32)

  def total(x):
    return (
      losses.triplet(x, pids)
      + losses.shuffle(x, pids, domains)
      + losses.scatter(x, domains)
    )

  assert np.all(np.isfinite(jax.grad(total)(x)))
  curved = jax.grad(lambda x: jnp.sum(jax.grad(total)(x) ** 2))(x)
  assert np.all(np.isfinite(curved))
  assert np.all(np.isfinite(jax.grad(total)(np.zeros_like(x))))


def test_bfloat16_features_give_float32_losses():
  x, pids, domains = draw(6)
  x = jnp.asarray(x, jnp.bfloat16)
  wide = x.astype(jnp.float32)
  for got, want in (
    (losses.triplet(x, pids), losses.triplet(wide, pids)),
    (losses.shuffle(x, pids, domains), losses.shuffle(wide, pids, domains)),
    (losses.scatter(x, domains), losses.scatter(wide, domains)),
    (losses.cross_entropy(x, pids), losses.cross_entropy(wide, pids)),
  ):
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, want)


def test_ties_share_the_gradient(float64):
  # The anchor's two positives are equally far.
  x = np.array([[0.0], [1.0], [-1.0], [0.5]])
  pids = np.array([0, 0, 0, 1], np.int32)

  def first_anchor(others):
    rows = jnp.concatenate([jnp.zeros((1, 1)), others])
    return losses.triplet(rows, pids, margin=0.3)

  grad = jax.grad(first_anchor)(x[1:])
  assert np.all(np.isfinite(grad))
  assert float(grad[0, 0]) != 0
  assert float(grad[1, 0]) != 0


def test_errors():
  logits = np.zeros((4, 3), np.float32)
  labels = np.zeros(4, np.int32)
  with pytest.raises(ValueError, match="spread is 'none', want"):
    losses.cross_entropy(logits, labels, spread="none")
  with pytest.raises(ValueError, match=r"want \[B, K\], \[B\]"):
    losses.cross_entropy(logits, labels[:3])


@pytest.mark.parametrize("rows", [slice(None), slice(0, 1)])
def test_nan_features_give_nan_losses(rows):
  # A masked NaN would let a run go on with plausible losses.
  features = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)))
  features = features.at[rows].set(jnp.nan)
  pids = jnp.arange(8) // 2
  domains = jnp.arange(8) // 4
  assert jnp.isnan(losses.triplet(features, pids))
  assert jnp.isnan(losses.shuffle(features, pids, domains))
  assert jnp.isnan(losses.scatter(features, domains))


@pytest.mark.parametrize("normalize", [True, False])
def test_scatter_has_tame_derivatives_at_a_zero_row(normalize):
  features = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
  features[0] = 0
  domains = jnp.arange(4) // 2

  def loss(x):
    return losses.scatter(x, domains, normalize=normalize)

  gradient = jax.grad(loss)(jnp.asarray(features))
  curvature = jax.hessian(loss)(jnp.asarray(features))
  assert float(jnp.abs(gradient).max()) < 10
  assert float(jnp.abs(curvature).max()) < 100
