from __future__ import annotations

import pytest

from metabin_jax.data.doctor.duplicates import find_duplicates


def kinds(findings):
  return [(f.severity, f.kind) for f in findings]


def test_one_picture_as_two_persons(rec, dataset, facts_of):
  data = dataset(
    "d",
    [
      rec("d/1", 1, "/a"),
      rec("d/2", 1, "/b"),
      rec("d/2", 2, "/c"),
      rec("d/3", 1, "/e"),
    ],
  )
  facts = facts_of({"/a": "x", "/b": "x", "/c": "y", "/e": "z"})
  (finding,) = find_duplicates([data], facts)
  assert kinds([finding]) == [("problem", "several_persons")]
  assert finding.dataset == "d"
  assert finding.text.endswith(": 1")
  assert finding.cases == (("/a (pid d/1)", "/b (pid d/2)"),)


def test_several_files_of_one_person_in_one_part(rec, dataset, facts_of):
  data = dataset("d", [rec("d/1", 1, "/b"), rec("d/1", 2, "/a")])
  (finding,) = find_duplicates([data], facts_of({"/a": "x", "/b": "x"}))
  assert kinds([finding]) == [("note", "repeated_file")]
  assert finding.cases == (("/a (pid d/1)", "/b (pid d/1)"),)


def test_train_and_test(rec, dataset, facts_of):
  data = dataset(
    "d", [rec("d/1", 1, "/a")], ([rec("d/1", 1, "/q")], [rec("d/1", 2, "/g")])
  )
  for same in ("/q", "/g"):
    contents = {"/a": "x", "/q": "q", "/g": "g", same: "x"}
    findings = find_duplicates([data], facts_of(contents))
    assert kinds(findings) == [("problem", "file_in_train_and_test")]
  contents = {"/a": "a", "/q": "q", "/g": "g"}
  assert find_duplicates([data], facts_of(contents)) == []


@pytest.mark.parametrize(
  ("query", "gallery", "cross_camera", "found"),
  [
    (1, 2, True, [("problem", "query_in_gallery")]),
    (1, 1, True, [("note", "query_in_gallery_left_out")]),
    (1, 1, False, [("problem", "query_in_gallery")]),
    (-1, -1, True, [("problem", "query_in_gallery")]),
    (1, -1, True, [("problem", "query_in_gallery")]),
  ],
)
def test_a_query_in_its_gallery(
  rec, dataset, facts_of, query, gallery, cross_camera, found
):
  fold = [rec("d/1", query, "/q")], [rec("d/1", gallery, "/g")]
  findings = find_duplicates(
    [dataset("d", (), fold)],
    facts_of({"/q": "x", "/g": "x"}),
    cross_camera=cross_camera,
  )
  assert kinds(findings) == found


def test_another_person_in_the_gallery_is_a_wrong_label(rec, dataset, facts_of):
  data = dataset("d", (), ([rec("d/1", 1, "/q")], [rec("d/2", 2, "/g")]))
  findings = find_duplicates([data], facts_of({"/q": "x", "/g": "x"}))
  assert kinds(findings) == [("problem", "several_persons")]


def test_a_query_in_the_gallery_of_another_fold_is_fine(rec, dataset, facts_of):
  q, g = rec("d/1", 1, "/q"), rec("d/1", 2, "/g")
  r, h = rec("d/2", 1, "/r"), rec("d/2", 2, "/h")
  data = dataset("d", (), ([q], [h]), ([r], [g]))
  facts = facts_of({"/q": "x", "/g": "x", "/r": "r", "/h": "h"})
  assert find_duplicates([data], facts) == []


def test_one_file_as_query_and_gallery(rec, dataset):
  known, unknown = rec("d/1", 1, "/k"), rec("d/2", -1, "/u")
  data = dataset("d", (), ([known], [known]))
  # Left out by its camera: `check_targets` has a note on it.
  assert find_duplicates([data], None) == []
  data = dataset("d", (), ([unknown], [unknown]))
  assert kinds(find_duplicates([data], None)) == [
    ("problem", "query_in_gallery")
  ]


def test_several_data_sets(rec, dataset, facts_of):
  d = dataset("d", [rec("d/1", 1, "/a"), rec("d/2", 1, "/b")])
  e = dataset("e", (), ([rec("e/1", 1, "/q")], [rec("e/1", 2, "/g")]))
  facts = facts_of({"/a": "x", "/b": "y", "/q": "q", "/g": "x"})
  (finding,) = find_duplicates([d, e], facts)
  # The pids differ by their prefix alone: no mistake within a data set.
  assert kinds([finding]) == [("problem", "several_sets")]
  assert finding.dataset == ""
  assert finding.cases == (("/a (pid d/1)", "/g (pid e/1)"),)


def test_without_facts_only_paths_are_compared(rec, dataset):
  data = dataset("d", [rec("d/1", 1, "/a"), rec("d/2", 1, "/a")])
  (finding,) = find_duplicates([data], None)
  assert kinds([finding]) == [("problem", "several_persons")]


def test_a_file_in_many_folds_is_no_duplicate(rec, dataset, facts_of):
  q, g = rec("d/1", 1, "/q"), rec("d/1", 2, "/g")
  data = dataset("d", (), *[([q], [g])] * 5)
  assert find_duplicates([data], facts_of({"/q": "q", "/g": "g"})) == []


def test_cases_are_sorted(rec, dataset, facts_of):
  names = ["/c", "/a", "/b", "/d"]
  data = dataset("d", [rec(f"d/{n[1]}", 1, n) for n in names])
  facts = facts_of({"/c": "x", "/d": "x", "/a": "y", "/b": "y"})
  (finding,) = find_duplicates([data], facts)
  assert [case[0] for case in finding.cases] == ["/a (pid d/a)", "/c (pid d/c)"]


def test_unreadable_files_are_no_pictures(rec, dataset, facts_of):
  data = dataset("d", [rec("d/1", 1, "/a"), rec("d/2", 1, "/b")])
  facts = {
    path: fact._replace(fault="it is empty")
    for path, fact in facts_of({"/a": "x", "/b": "x"}).items()
  }
  assert find_duplicates([data], facts) == []
