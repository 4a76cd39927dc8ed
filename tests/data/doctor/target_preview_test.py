from __future__ import annotations

import dataclasses

import known_sets
import pytest

from metabin_jax.data import checks, splits
from metabin_jax.data.doctor.target_preview import preview_targets
from metabin_jax.data.records import Provenance
from metabin_jax.errors import UserError


def kinds(findings):
  return [(f.severity, f.kind) for f in findings]


def test_counts_of_a_fold(rec, dataset):
  query = [rec("t/1", 1), rec("t/2", 1), rec("t/3", -1), rec("t/4", 1)]
  gallery = [
    rec("t/1", 1, "/g1"),
    rec("t/1", 2),
    rec("t/2", 1, "/g2"),
    rec("t/3", -1, "/g3"),
    rec("t/0", 1),
    rec("t/0", 2),
  ]
  target = dataset("t", (), (query, gallery))
  (preview,), findings = preview_targets([target], cross_camera=True)
  fold = preview.folds["0"]
  assert (fold.queries, fold.gallery) == (4, 6)
  assert fold.distractors == 2
  assert fold.left_out == 2
  (report,) = checks.check_targets([], [target])
  assert fold.report == report
  assert report.num_valid == 2
  assert kinds(findings) == [("note", "target")]
  assert findings[0].text == report.notes[0]
  assert (preview.name, preview.protocol) == ("t", "own")
  assert preview.split_digest == splits.split_digest(target)


def test_cameras_may_count(rec, dataset):
  target = dataset("t", (), ([rec("t/1", 1)], [rec("t/1", 1, "/g")]))
  (preview,), findings = preview_targets([target], cross_camera=False)
  assert preview.folds["0"].left_out == 0
  assert preview.folds["0"].report.num_valid == 1
  assert findings == []


def test_a_fold_that_a_run_refuses(rec, dataset):
  good = [rec("t/1", 1)], [rec("t/1", 2)]
  bad = [rec("t/2", 1)], [rec("t/3", 2)]
  target = dataset("t", (), good, bad)
  (preview,), findings = preview_targets([target], cross_camera=True)
  assert preview.folds["0"].report.num_valid == 1
  assert preview.folds["1"].report is None
  assert kinds(findings) == [("problem", "refused_target")]
  with pytest.raises(UserError) as error:
    checks.check_targets([], [target])
  assert findings[0].text == f"as a target, a run ends with: {error.value}"


def test_a_target_beside_sources(rec, dataset, write_image):
  path, other = write_image("a.png"), write_image("b.png", seed=1)
  target = dataset("t", (), ([rec("t/1", 1, path)], [rec("t/1", 2, other)]))
  source = dataset("s", [rec("s/1", 1, path)])
  _, findings = preview_targets([source, target], cross_camera=True)
  assert kinds(findings) == [("problem", "refused_pair")]
  assert findings[0].text.startswith(
    "trained on 's', a run ends with: target 't' shares 1 image files"
  )
  apart = dataset("s", [rec("s/1", 1, write_image("c.png", seed=2))])
  assert preview_targets([apart, target], cross_camera=True)[1] == []


def test_known_overlaps(rec, dataset, monkeypatch):
  known_sets.only(monkeypatch, "cuhk01", "cuhk02")
  target = dataclasses.replace(
    dataset("x", (), ([rec("x/1")], [rec("x/1", 2)])),
    provenance=Provenance(public="cuhk01"),
  )
  source = dataclasses.replace(
    dataset("y", [rec("y/1")]), provenance=Provenance(public="cuhk02")
  )
  _, findings = preview_targets([source, target], cross_camera=True)
  assert kinds(findings) == [("problem", "refused_pair")]
  assert "known to show the same persons" in findings[0].text
  # Who trains on nothing of a set may test on both.
  tests = dataclasses.replace(source, train=(), folds=target.folds)
  assert preview_targets([tests, target], cross_camera=True)[1] == []


def test_what_is_wrong_alone_is_not_said_again_beside_others(rec, dataset):
  target = dataset("t", (), ([rec("t/2", 1)], [rec("t/3", 2)]))
  sources = [dataset("a", [rec("a/1")]), dataset("b", [rec("b/1")])]
  _, findings = preview_targets([*sources, target], cross_camera=True)
  assert kinds(findings) == [("problem", "refused_target")]


def test_data_sets_to_train_on_are_no_targets(rec, dataset):
  source = dataset("s", [rec("s/1")])
  assert preview_targets([source], cross_camera=True) == ([], [])
