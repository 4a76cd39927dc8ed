from __future__ import annotations

import dataclasses
import os

import pytest

from metabin_jax.data import checks
from metabin_jax.data.records import DataSet, Fold, Provenance, Record
from metabin_jax.errors import UserError


def rec(pid, camid=0, domain="d", path=None):
  return Record(path or f"/none/{pid}_{camid}", pid, camid, domain)


def source(name="s", pids=("s/1", "s/2"), domain="d"):
  return DataSet(name, tuple(rec(p, c, domain) for p in pids for c in (1, 2)))


def target(query, gallery, name="t"):
  return DataSet(name, (), (Fold("test", tuple(query), tuple(gallery)),))


def test_counts_and_single_images():
  a = source("a", ("a/1", "a/2"), "da")
  b = DataSet(
    "b", (rec("b/1", 1, "db"), rec("b/2", -1, "db"), rec("b/2", 2, "db"))
  )
  report = checks.check_sources([a, b])
  assert (report.num_images, report.num_pids) == (7, 4)
  assert report.domains == (
    checks.DomainCount("da", 4, 2, 2, 0),
    checks.DomainCount("db", 3, 2, 2, 1),
  )
  assert len(report.notes) == 1
  assert "1 of 2 persons have a single image" in report.notes[0]


@pytest.mark.parametrize(
  ("sources", "message"),
  [
    ([], "no source data set"),
    (
      [source()],
      r"only one domain \(d\): a meta step needs at least 2 .* add a source or "
      "use domain=camera",
    ),
    ([source(), source()], r"2 data sets are named 's'.*name="),
    ([source(), DataSet("e")], r"source 'e' has no training image;"),
    (
      [source(), target([rec("t/1")], [rec("t/1", 1)])],
      r"source 't' has no training image, only queries and gallery",
    ),
  ],
)
def test_bad_sources(sources, message):
  with pytest.raises(UserError, match=message):
    checks.check_sources(sources)


def test_one_domain_is_enough_without_meta_learning():
  assert len(checks.check_sources([source()], meta=False).domains) == 1


def test_valid_queries():
  (report,) = checks.check_targets(
    [source()],
    [target([rec("t/1", 1), rec("t/2", 2)], [rec("t/1", 2), rec("t/2", -1)])],
  )
  assert (report.num_query, report.num_gallery, report.num_valid) == (2, 2, 2)
  assert report.invalid == {}
  assert report.notes == ()


def test_reports_queries_without_a_match_by_reason():
  queries = [rec(f"t/{i}", 1) for i in range(6)]
  gallery = [
    rec("t/0", 2),
    rec("t/1", 1, path="/g1"),
    rec("t/2", 1, path="/g2"),
  ]
  (report,) = checks.check_targets([], [target(queries, gallery)])
  assert report.num_valid == 1
  assert report.invalid == {
    checks.SAME_CAMERA_ONLY: 2,
    checks.NO_OTHER_IMAGE: 3,
  }
  assert [record.pid for record, _ in report.examples] == ["t/1", "t/2", "t/3"]
  (note,) = report.notes
  assert (
    "5 of 6 queries cannot be scored (only under the same camera: 2" in note
  )
  assert "/none/t/1_1 (pid t/1, camid 1, only under the same camera)" in note


def test_same_camera_counts_when_allowed_or_unknown():
  same = target([rec("t/1", 1)], [rec("t/1", 1, path="/none/other")])
  (report,) = checks.check_targets([], [same], cross_camera=False)
  assert report.num_valid == 1
  unknown = target([rec("t/1", -1)], [rec("t/1", -1, path="/none/other")])
  (report,) = checks.check_targets([], [unknown])
  assert report.num_valid == 1


def test_no_valid_query():
  bad = target([rec("t/1", 1), rec("t/2", 1)], [rec("t/1", 1), rec("t/3", 2)])
  with pytest.raises(
    UserError,
    match=r"none of the 2 queries has a match .*same camera: 1, no other image "
    r"of the person: 1.*--cross-camera=off",
  ):
    checks.check_targets([], [bad])


def test_query_that_is_in_the_gallery_is_noted():
  query = rec("t/1", -1)
  (report,) = checks.check_targets([], [target([query], [query])])
  assert report.notes == ("t fold test: 1 query images are in the gallery too",)


def test_target_without_folds():
  with pytest.raises(UserError, match="target 's' has no query and gallery"):
    checks.check_targets([], [source()])


def test_shared_persons():
  pids = [f"s/{i}" for i in range(5)]
  bad = target(
    [rec("s/3"), rec("s/1"), rec("s/9")], [rec("s/4", 1), rec("s/2")]
  )
  with pytest.raises(
    UserError, match=r"'t' shares 4 persons .* such as s/1, s/2, s/3; test on"
  ):
    checks.check_targets([source(pids=pids)], [bad])


def test_shared_files_are_found_through_links(write_image, tmp_path):
  real = write_image("real.png")
  other = write_image("other.png", seed=1)
  link = str(tmp_path / "link.png")
  os.symlink(real, link)
  train = DataSet("s", (rec("s/1", path=real),))
  bad = target([rec("t/1", 1, path=link)], [rec("t/1", 2, path=other)])
  with pytest.raises(
    UserError, match=r"'t' shares 1 image files .* such as .*link.png; test on"
  ):
    checks.check_targets([train], [bad])
  good = target([rec("t/1", 1, path=other)], [rec("t/1", 2)])
  assert checks.check_targets([train], [good])[0].num_valid == 1


def test_folds_that_do_not_differ_are_refused():
  query, gallery = rec("t/1", 1), (rec("t/1", 2), rec("t/2", 2))
  first = Fold("1", (query,), gallery)
  # The same images in another order are the same split.
  again = Fold("2", (query,), gallery[::-1])
  other = Fold("3", (query,), gallery[:1])
  with pytest.raises(UserError, match="folds '1' and '2' of target 't'"):
    checks.check_targets([], [DataSet("t", (), (first, again, other))])
  own = DataSet("t", (), (first, other))
  assert len(checks.check_targets([], [own])) == 2
  # A public protocol draws other persons for each fold.
  known = Provenance(public="ilids")
  with pytest.raises(UserError, match="have the same queries, so"):
    checks.check_targets([], [dataclasses.replace(own, provenance=known)])


def site(name="x", camid=0):
  return DataSet(name, tuple(rec(f"{name}/{p}", camid, name) for p in "12"))


def test_unlabelled_are_counted():
  report = checks.check_unlabelled([source()], [site("x"), site("y", 4)])
  assert (report.num_images, report.num_views) == (4, 2)
  unknown = [site(camid=-1)]
  assert checks.check_unlabelled([source()], unknown, cameras=False)


@pytest.mark.parametrize(
  ("datasets", "message"),
  [
    ([], "data.unlabelled names none"),
    ([site("s")], "2 data sets are named 's'"),
    ([site(), site()], "2 data sets are named 'x'"),
    ([DataSet("x")], "'x' of data.unlabelled has no training image"),
    (
      [site(camid=-1)],
      "2 images of 'x' have no camera number, .*view_weight=0",
    ),
    (
      [DataSet("x", (rec("x/1", path="/none/s/1_1"),))],
      "shares 1 image files with the sources, such as /none/s/1_1",
    ),
  ],
)
def test_bad_unlabelled(datasets, message):
  with pytest.raises(UserError, match=message):
    checks.check_unlabelled([source()], datasets)
