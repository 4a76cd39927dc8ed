"""Every number of a ranking against its definition, on 200 small problems."""

from __future__ import annotations

import fractions
import math

import numpy as np
import pytest

from metabin_jax.evaluation.average_precision import AP_CONVENTIONS
from metabin_jax.evaluation.ranking import rank_distances, rank_queries

RATES = (0.0033, 0.05, 0.3, 0.75)
NUM_QUERY, NUM_GALLERY = 16, 30


def random_problem(seed):
  """Embeddings with many equal distances, each exact in float64."""
  rng = np.random.Generator(np.random.Philox(key=[seed, 11]))
  metric = ("cosine", "euclidean")[seed % 2]

  def embed(number):
    if metric == "euclidean":
      return rng.integers(-2, 3, (number, 3)).astype(float)
    # Four entries of one size: norms are powers of two.
    rows = np.zeros((number, 6))
    for row in rows:
      row[rng.permutation(6)[:4]] = rng.choice(
        [-1, 1], 4
      ) * 2.0 ** rng.integers(-3, 4)
    return rows

  labels = (
    rng.integers(0, 9, NUM_QUERY),
    rng.integers(-1, 3, NUM_QUERY),
    rng.integers(0, 7, NUM_GALLERY),
    rng.integers(-1, 3, NUM_GALLERY),
  )
  return metric, embed(NUM_QUERY), embed(NUM_GALLERY), labels


def naive_distance(a, b, metric):
  if metric == "euclidean":
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))
  product = sum(x * y for x, y in zip(a, b, strict=True))
  return 1 - product / (math.hypot(*a) * math.hypot(*b))


def naive_lists(dist, labels, cross_camera):
  """For each query its kept images as (distance, is a match), in order."""
  q_pid, q_camid, g_pid, g_camid = labels
  for query in range(len(q_pid)):
    entries = []
    for image in range(len(g_pid)):
      match = bool(q_pid[query] == g_pid[image])
      same_camera = q_camid[query] == g_camid[image] != -1
      if not (match and same_camera and cross_camera):
        entries.append((dist[query][image], match))
    # At equal distance False, another person, comes first.
    yield sorted(entries)


def naive_ap(hits, convention):
  """Walks down the list; the precision before a match stands one above it."""
  total = 0.0
  for found, rank in enumerate(hits, start=1):
    precision = found / rank
    if convention == "interpolation-free":
      total += precision
      continue
    if rank == 1 or (convention == "mar" and found == 1):
      before = 1.0
    else:
      before = (found - 1) / (rank - 1)
    total += (before + precision) / 2
  return total / len(hits)


def naive_tpr(genuine, impostors, rate):
  """Tries every threshold."""
  allowed = fractions.Fraction(str(rate)) * len(impostors)
  if allowed < 1:
    return None
  best = 0
  for threshold in {*genuine, *impostors}:
    if sum(d <= threshold for d in impostors) <= allowed:
      best = max(best, sum(d <= threshold for d in genuine))
  return best / len(genuine)


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_the_definitions(seed):
  metric, query, gallery, labels = random_problem(seed)
  cross_camera = seed % 3 != 0
  convention = AP_CONVENTIONS[seed % len(AP_CONVENTIONS)]
  dist = [[naive_distance(a, b, metric) for b in gallery] for a in query]
  first, ap, inp, matches, genuine, impostors = [], [], [], [], [], []
  for entries in naive_lists(dist, labels, cross_camera):
    hits = [rank for rank, (_, match) in enumerate(entries, 1) if match]
    matches.append(len(hits))
    first.append(hits[0] if hits else 0)
    ap.append(naive_ap(hits, convention) if hits else 0)
    inp.append(len(hits) / hits[-1] if hits else 0)
    if hits:
      genuine += [d for d, match in entries if match]
      impostors += [d for d, match in entries if not match]
  options = {"cross_camera": cross_camera, "ap": convention, "fprs": RATES}
  for got in (
    rank_queries(query, gallery, *labels, metric=metric, block=5, **options),
    rank_distances(np.array(dist), *labels, **options),
  ):
    np.testing.assert_array_equal(got.first_rank, first)
    np.testing.assert_allclose(got.ap, ap, rtol=1e-15)
    np.testing.assert_array_equal(got.inp, inp)
    np.testing.assert_array_equal(got.num_matches, matches)
    np.testing.assert_array_equal(got.valid, np.array(first) > 0)
    assert got.ap_convention == convention
    assert got.roc.num_genuine == len(genuine)
    assert got.roc.num_impostor == len(impostors)
    assert got.roc.rates == tuple(
      (rate, naive_tpr(genuine, impostors, rate)) for rate in RATES
    )
    assert_curve(got.roc, np.array(genuine), np.array(impostors))


def assert_curve(roc, genuine, impostors):
  assert (np.diff(roc.fpr) > 0).all()
  assert roc.fpr[-1] <= max(RATES)
  for fpr, tpr, threshold in zip(roc.fpr, roc.tpr, roc.threshold, strict=True):
    assert fpr == (impostors <= threshold).mean()
    assert tpr == (genuine <= threshold).mean()
    # It is the largest threshold of this rate.
    assert (impostors <= np.nextafter(threshold, np.inf)).mean() > fpr


def test_problems_have_what_makes_them_hard():
  """Ties between match and impostor, junk, invalid queries, resolved rates."""
  ties = invalid = junk = unresolved = 0
  for seed in range(0, 200, 10):
    metric, query, gallery, labels = random_problem(seed)
    dist = [[naive_distance(a, b, metric) for b in gallery] for a in query]
    lists = list(naive_lists(dist, labels, True))
    for entries in lists:
      values = [{d for d, match in entries if match == kind} for kind in (0, 1)]
      ties += bool(values[0] & values[1])
      invalid += not values[1]
      junk += len(entries) < NUM_GALLERY
    got = rank_queries(query, gallery, *labels, metric=metric, fprs=RATES)
    unresolved += got.roc.rates[0][1] is None
  assert ties > 50
  assert invalid > 20
  assert junk > 50
  assert 0 < unresolved < 20
