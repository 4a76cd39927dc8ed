"""One embedding pass, then ranking fold by fold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metabin_jax.data.records import Fold, Record
from metabin_jax.errors import UserError
from metabin_jax.evaluation import evaluate, ranking, rerank, summary
from metabin_jax.evaluation.settings import Settings

# Angles in degrees stand for images; near angles are similar.
ANGLES = {"q0": 0, "q1": 90, "near0": 5, "near1": 80, "far": 180, "mid": 40}


def record(name, pid, camid):
  return Record(name, pid, camid, "x")


QUERY = (record("q0", "a", 0), record("q1", "b", 0))
GALLERY = (
  record("near0", "a", 1),
  record("near1", "b", 1),
  record("far", "c", 1),
)


@pytest.fixture(name="embed")
def embed_fixture():
  calls = []

  def embed(records):
    calls.append([r.path for r in records])
    angle = np.deg2rad([ANGLES[r.path] for r in records])
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)

  embed.calls = calls
  return embed


def test_a_fold_is_ranked(embed):
  got = evaluate.evaluate_target([Fold("0", QUERY, GALLERY)], embed)
  assert got["rank-1"] == got["mAP"] == got["mINP"] == 1.0
  assert (got["num_query"], got["num_valid"], got["folds"]) == (2, 2, 1)


def test_every_file_is_embedded_once_for_all_folds(embed):
  swapped = (record("near0", "b", 1), record("near1", "a", 1))
  folds = [Fold("0", QUERY, GALLERY), Fold("1", QUERY, swapped)]
  got = evaluate.evaluate_target(folds, embed, Settings(ranks=(1, 2)))
  assert embed.calls == [["q0", "q1", "near0", "near1", "far"]]
  assert got["folds"] == 2
  assert got["rank-1"] == 0.5
  assert got["rank-1/std"] == 0.5
  assert got["rank-2"] == 1.0
  assert "rank-5" not in got
  assert got["mAP"] == 0.75


def test_cameras_and_metric_are_passed_on(embed):
  same_camera = (record("mid", "a", 0), *GALLERY[1:])
  fold = Fold("0", QUERY, same_camera)
  got = evaluate.evaluate_target([fold], embed)
  assert (got["num_valid"], got["invalid_same_camera"]) == (1, 1)
  got = evaluate.evaluate_target([fold], embed, Settings(cross_camera=False))
  assert got["num_valid"] == 2
  with pytest.raises(ValueError, match="metric"):
    evaluate.evaluate_target([fold], embed, Settings(metric="manhattan"))


def test_nothing_to_score_is_explained(embed):
  fold = Fold("0", QUERY, (record("far", "c", 1),))
  with pytest.raises(UserError, match="no image of the person"):
    evaluate.evaluate_target([fold], embed)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_names_its_file(embed, value):
  def broken(records):
    embeddings = embed(records)
    embeddings[3, 1] = value
    return embeddings

  with pytest.raises(UserError, match="embedding of near1 is not finite"):
    evaluate.evaluate_target([Fold("0", QUERY, GALLERY)], broken)


def wide_fold(seed):
  """30 persons, one query and two gallery images each, in 8 dimensions."""
  random = np.random.Generator(np.random.Philox(key=[seed, 9]))
  persons = random.standard_normal((30, 8))
  places, parts = {}, ([], [])
  for part, copies in enumerate((1, 2)):
    for person, place in enumerate(persons):
      for copy in range(copies):
        name = f"{part}/{person}/{copy}"
        places[name] = place + 0.7 * random.standard_normal(8)
        parts[part].append(record(name, str(person), part))
  fold = Fold("0", tuple(parts[0]), tuple(parts[1]))
  rows = [np.stack([places[r.path] for r in part]) for part in parts]
  return fold, lambda records: np.stack([places[r.path] for r in records]), rows


@pytest.fixture(name="wide")
def wide_fixture():
  return wide_fold(0)


def scored(wide, **changes):
  fold, embed, _ = wide
  return evaluate.evaluate_target([fold], embed, Settings(**changes))


def by_hand(wide, dist, **options):
  """mAP from a matrix of distances."""
  fold, _, _ = wide
  labels = [
    np.array([getattr(r, key) for r in part])
    for part in (fold.query, fold.gallery)
    for key in ("pid", "camid")
  ]
  return ranking.rank_distances(dist, *labels, **options).ap.mean()


def unit(rows):
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_reranking_ranks_by_the_reranked_distances(wide, metric):
  numbers = {"k1": 7, "k2": 3, "original_share": 0.4}
  want = rerank.make_reranked_distances(*wide[2], metric, **numbers)(0, 30)
  got = scored(
    wide,
    metric=metric,
    rerank=True,
    rerank_k1=7,
    rerank_k2=3,
    rerank_lambda=0.4,
  )
  assert got["mAP"] == by_hand(wide, want)
  others = [
    scored(wide, metric=metric),
    scored(wide, metric=metric, rerank=True),
    scored(wide, metric=metric, rerank=True, rerank_k1=7, rerank_k2=3),
    scored(wide, metric=metric, rerank_k1=7, rerank_k2=3, rerank_lambda=0.4),
  ]
  assert got["mAP"] not in [other["mAP"] for other in others]


def expanded(wide, k):
  query, gallery = map(unit, wide[2])
  near = (query @ gallery.T).argsort(axis=1)[:, -k:]
  return unit(query + gallery[near].sum(axis=1)), gallery


def test_queries_are_expanded(wide):
  query, gallery = expanded(wide, 3)
  got = scored(wide, query_expansion=3)
  assert got["mAP"] == by_hand(wide, -query @ gallery.T)
  assert got["mAP"] != scored(wide)["mAP"]


def test_queries_are_expanded_before_reranking(wide):
  distances = rerank.make_reranked_distances(*expanded(wide, 3))(0, 30)
  got = scored(wide, query_expansion=3, rerank=True)
  assert got["mAP"] == pytest.approx(by_hand(wide, distances), abs=1e-12)
  assert got["mAP"] != scored(wide, rerank=True)["mAP"]


@pytest.mark.parametrize("reranked", [False, True])
def test_cameras_ap_and_rates_reach_both_ways_of_ranking(wide, reranked):
  dist = -unit(wide[2][0]) @ unit(wide[2][1]).T
  if reranked:
    dist = rerank.make_reranked_distances(*wide[2])(0, 30)
  for convention in ("interpolation-free", "trapezoid", "mar"):
    got = scored(wide, rerank=reranked, ap=convention)
    key = summary.mean_ap_key(convention)
    assert got[key] == by_hand(wide, dist, ap=convention)
  fold = wide[0]
  names = [
    np.array([r.pid for r in part]) for part in (fold.query, fold.gallery)
  ]
  labels = (names[0], np.zeros(30, int), names[1], np.ones(60, int))
  for rates in ((), (0.1, 0.02)):
    settings = Settings(rerank=reranked, fprs=rates)
    roc = evaluate.rank(*wide[2], labels, settings).roc
    want = ranking.rank_distances(dist, *labels, fprs=rates).roc
    assert (roc is None) == (want is None) == (not rates)
    if rates:
      assert roc.rates == want.rates
  # Query and gallery of one camera: nothing is left, or everything.
  same = tuple(dataclasses.replace(r, camid=0) for r in fold.gallery)
  wide = (dataclasses.replace(fold, gallery=same), *wide[1:])
  with pytest.raises(UserError, match="share camera 0"):
    scored(wide, rerank=reranked)
  got = scored(wide, rerank=reranked, cross_camera=False)
  assert got["mAP"] == by_hand(wide, dist, cross_camera=False)


def test_reranking_each_fold_by_its_own_images(wide):
  fold, embed, _ = wide
  half = Fold("1", fold.query[:15], fold.gallery[:30])
  settings = Settings(rerank=True)
  alone = [
    evaluate.evaluate_target([one], embed, settings)["mAP"]
    for one in (fold, half)
  ]
  both = evaluate.evaluate_target([fold, half], embed, settings)
  assert both["mAP"] == pytest.approx(np.mean(alone), abs=1e-12)


def test_folds_too_small_are_explained(embed):
  fold = Fold("0", QUERY, GALLERY)
  with pytest.raises(UserError, match="have 5 together"):
    evaluate.evaluate_target([fold], embed, Settings(rerank=True))
  with pytest.raises(UserError, match="which has 3"):
    evaluate.evaluate_target([fold], embed, Settings(query_expansion=4))


def test_place_decides_who_ranks(wide, monkeypatch):
  device_ranking = pytest.importorskip("metabin_jax.evaluation.device_ranking")
  used = []

  def watch(module, function, name):
    rank = getattr(module, function)

    def watched(*args, **options):
      used.append(name)
      return rank(*args, **options)

    monkeypatch.setattr(module, function, watched)

  watch(ranking, "rank_blocks", "host")
  watch(device_ranking, "rank_queries", "device")
  host = scored(wide, place="host")
  assert scored(wide, place="device") == host
  assert scored(wide, place="auto") == host
  monkeypatch.setattr(evaluate.jax, "default_backend", lambda: "gpu")
  assert scored(wide, place="auto") == host
  assert scored(wide, place="host") == host
  assert used == ["host", "device", "host", "device", "host"]


def test_query_expansion_is_of_directions_only(wide):
  with pytest.raises(ValueError, match="metric 'cosine', not 'euclidean'"):
    scored(wide, query_expansion=2, metric="euclidean")
