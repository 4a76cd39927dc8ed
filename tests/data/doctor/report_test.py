from __future__ import annotations

import dataclasses
import json

import pytest

from metabin_jax.data.doctor import report, text
from metabin_jax.data.doctor.files import FileFacts
from metabin_jax.data.doctor.findings import Finding

SETTINGS = report.Settings(256, 128, 80, 4, 3, True)


def opened(dataset, folder=""):
  return report.Opened(
    dataset, f"folder:/{dataset.name}", dataset.name == "a", folder
  )


def facts_for(datasets, size=(64, 128), fault_of=()):
  paths = [r.path for d in datasets for r in report.files.all_records(d)]
  return {
    path: FileFacts(path, 0, 0, "", f"image {path} is bad")
    if path in fault_of
    else FileFacts(path, *size, "PNG", "")
    for path in paths
  }


@pytest.fixture
def two(rec, dataset):
  a = dataset(
    "a",
    [rec(f"a/{p}", c) for p in range(12) for c in (1, 2, 3)],
    ([rec("a/q", 1)], [rec("a/q", 2), rec("a/q", 1, "/none/same.jpg")]),
  )
  b = dataset("b", [rec(f"b/{p}", c) for p in range(15) for c in (-1, 4)])
  return [a, b]


def make(datasets, facts):
  return report.make_report([opened(d) for d in datasets], facts, SETTINGS)


def row(lines, first):
  """Cells of the only table row that begins with these words."""
  (line,) = [x for x in lines if x.strip().startswith(first + "  ")]
  return line.removeprefix(f"  {first}").split()


def test_the_same_numbers_in_print_and_in_json(two):
  made = make(two, facts_for(two))
  printed = text.format_report(made).splitlines()
  data = json.loads(json.dumps(report.to_json(made), allow_nan=False))
  assert [d["name"] for d in data["datasets"]] == ["a", "b"]
  train, query, gallery = data["datasets"][0]["parts"]
  for part in (query, gallery):
    cells = row(printed, part["part"])
    counts = [str(part[k]) for k in ("images", "persons", "single")]
    sides = [part["pixels"][side] for side in ("width", "height")]
    spreads = ["/".join(map(str, side.values())) for side in sides]
    formats = [
      f"{n}" for pair in part["pixels"]["formats"].items() for n in pair
    ]
    assert cells == [*counts, *spreads, *formats]
  assert train["cameras"] == {"1": 12, "2": 12, "3": 12}
  assert "  train: 3 cameras (1:12, 2:12, 3:12)" in printed
  assert "  train: 2 cameras (4:15, unknown:15)" in printed
  source = data["run"]["sources"]
  for domain in source["domains"]:
    cells = row(printed, domain["domain"])
    keys = ("num_images", "num_pids", "num_single", "num_cameras")
    assert cells == [str(domain[key]) for key in keys]
  flat = " ".join(" ".join(printed).split())
  sizes = source["meta_sizes"]
  assert (
    f"batch sizes of MetaBIN: multiples of {sizes['step']} from "
    f"{sizes['least']} to {sizes['most']}" in flat
  )
  assert (
    f"at batch size {source['batch_size']}, one pass over all persons has "
    f"{source['epoch_places']} places, {source['repeated']} of them" in flat
  )
  (target,) = data["run"]["targets"]
  (fold,) = target["folds"].values()
  assert (
    f"{fold['queries']} queries, {fold['report']['num_valid']} of them with a "
    f"match; {fold['gallery']} gallery images, {fold['distractors']} of them"
    in flat
  )
  assert f"; {fold['left_out']} pairs of the same person" in flat
  assert (fold["queries"], fold["gallery"], fold["left_out"]) == (1, 2, 1)
  assert f"sha256 {target['split_digest'][:12]}" in flat
  assert data["settings"]["batch_size"] == 80


def test_problems_first_and_each_finding_is_printed(two):
  bad = sorted(r.path for r in two[1].train)[:12]
  made = make(two, facts_for(two, fault_of=bad))
  problems, notes = made.problems(), made.notes()
  assert [f.kind for f in problems] == ["unreadable"]
  assert {f.kind for f in notes} == {"num_mtrain"}
  printed = text.format_report(made)
  assert printed.startswith("PROBLEMS (1)\n")
  assert printed.index("PROBLEMS (1)") < printed.index("NOTES (1)")
  assert printed.index("NOTES (1)") < printed.index("a: read as folder:/a")
  assert printed.endswith("1 problem, 1 note")
  for path in bad[:10]:
    assert f"    {path}: is bad\n" in printed
  assert bad[10] not in printed
  assert "    and 2 more; --json=FILE lists all\n" in printed
  (problem,) = report.to_json(made)["problems"]
  assert [case[0] for case in problem["cases"]] == bad
  assert "unreadable 12" in printed
  assert made.enlarged == (39, 30 - 12)


def test_nothing_to_say(rec, dataset):
  sets = [
    dataset(n, [rec(f"{n}/{p}", c) for p in range(10) for c in range(4)])
    for n in "abcd"
  ]
  made = make(sets, facts_for(sets, size=(128, 256)))
  printed = text.format_report(made)
  assert made.findings == ()
  assert printed.startswith("a: read as folder:/a; write another reader")
  assert "b: read as folder:/b\n" in printed
  assert printed.endswith("no problems, no notes")


def test_small_images_are_counted(two):
  for size, small in (
    ((128, 256), 0),
    ((127, 256), 39),
    ((128, 255), 39),
    ((500, 500), 0),
  ):
    made = make(two, facts_for(two, size=size))
    assert made.enlarged == (small, small and 30)
  assert make(two, None).enlarged == (None, None)


def test_labels_alone(two):
  made = make(two, None)
  printed = text.format_report(made)
  assert "width" not in printed
  assert "enlarged" not in printed
  assert report.to_json(made)["datasets"][0]["parts"][0]["pixels"] is None


def test_every_kind_of_finding_gets_in(touch, rec, dataset):
  root = touch("x/a.jpg")
  shared = dataset(
    "a",
    [rec("a/1", 1, "/p")],
    ([rec("a/1", 1, "/q")], [rec("a/1", 2, "/g")]),
  )
  facts = facts_for([shared])
  facts["/p"] = facts["/p"]._replace(sha256="s")
  facts["/q"] = facts["/q"]._replace(sha256="s")
  facts["/g"] = FileFacts("", 0, 0, "", "image /g is bad")
  made = report.make_report([opened(shared, root)], facts, SETTINGS)
  assert [f.kind for f in made.findings] == [
    "train_and_test",
    "unreadable",
    "file_in_train_and_test",
    "no_batch_size",
    "unused",
    "sources",
    "single_domain",
  ]
  printed = text.format_report(made)
  assert "  batch sizes of a baseline: none (" in printed
  assert "at batch size" not in printed
  assert "    x: 1 files\n" in printed


def test_whether_cameras_count_matters_everywhere(rec, dataset):
  fold = [rec("a/1", 1, "/q")], [rec("a/1", 1, "/g"), rec("a/1", 2)]
  data = dataset("a", (), fold)
  facts = {p: f._replace(sha256="x") for p, f in facts_for([data]).items()}
  del facts["/none/a/1_2.jpg"]
  facts |= facts_for([dataset("a", [rec("a/1", 2)])])
  for cross_camera, kind, left_out in (
    (True, "query_in_gallery_left_out", 1),
    (False, "query_in_gallery", 0),
  ):
    settings = SETTINGS._replace(cross_camera=cross_camera)
    made = report.make_report([opened(data)], facts, settings)
    assert [f.kind for f in made.findings if "query" in f.kind] == [kind]
    assert made.targets[0].folds["0"].left_out == left_out


def test_several_folds_are_one_line(rec, dataset):
  folds = [
    ([rec(f"t/{p}", 1) for p in people], [rec(f"t/{p}", 2) for p in people])
    for people in ((1, 2), (2, 3, 4), (5, 6))
  ]
  made = make([dataset("t", (), *folds)], None)
  printed = text.format_report(made)
  assert "  query, 3 folds         6        6       6\n" in printed
  assert "2 to 3 queries, 2 to 3 of them with a match; 2 to 3 gallery" in (
    " ".join(printed.split())
  )
  data = report.to_json(made)
  parts = [(p["part"], p["fold"]) for p in data["datasets"][0]["parts"]]
  assert len(parts) == 8
  assert [
    f["queries"] for f in data["run"]["targets"][0]["folds"].values()
  ] == [
    2,
    3,
    2,
  ]


def test_queries_without_a_match(rec, dataset):
  fold = (
    [rec("t/1", 1), rec("t/2", 1), rec("t/3", 1)],
    [rec("t/1", 2), rec("t/2", 1, "/g"), rec("t/4", 2)],
  )
  made = make([dataset("t", (), fold)], None)
  flat = " ".join(text.format_report(made).split())
  assert "3 queries, 1 of them with a match" in flat
  assert "queries without a match (no other image of the person): 1" in flat
  assert "queries without a match (only under the same camera): 1" in flat
  (target,) = report.to_json(made)["run"]["targets"]
  assert target["folds"]["0"]["report"]["examples"] == [
    {
      "path": "/none/t/2_1.jpg",
      "pid": "t/2",
      "camid": 1,
      "reason": "only under the same camera",
    },
    {
      "path": "/none/t/3_1.jpg",
      "pid": "t/3",
      "camid": 1,
      "reason": "no other image of the person",
    },
  ]


def test_long_cases_are_cut_in_print(two):
  made = make(two, None)
  case = tuple(f"/file{i}" for i in range(5))
  finding = Finding("problem", "several_sets", "", "long", (case,))
  made = dataclasses.replace(made, findings=(finding,))
  printed = text.format_report(made)
  assert "    /file0, /file1, /file2 and 2 more\n" in printed
  assert report.to_json(made)["problems"][0]["cases"] == [list(case)]
