"""One embedding pass, then ranking fold by fold."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data.records import Fold, Record
from metabin_jax.errors import UserError
from metabin_jax.evaluation import evaluate

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
  got = evaluate.evaluate_target(folds, embed, ranks=(1, 2))
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
  got = evaluate.evaluate_target([fold], embed, cross_camera=False)
  assert got["num_valid"] == 2
  with pytest.raises(ValueError, match="metric"):
    evaluate.evaluate_target([fold], embed, metric="manhattan")


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
