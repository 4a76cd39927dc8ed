from __future__ import annotations

import dataclasses
import os

import pytest

from metabin_jax.data import folders
from metabin_jax.data.doctor import labels
from metabin_jax.data.public.market1501 import MARKET1501
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.data.records import Provenance


def test_persons_in_train_and_test(rec, dataset):
  train = [rec("d/1"), rec("d/2"), rec("d/3"), rec("d/4")]
  test = ([rec("d/2", 2)], [rec("d/4", 3), rec("d/9")])
  (finding,) = labels.find_shared_persons(dataset("d", train, test))
  assert (finding.severity, finding.kind) == ("problem", "train_and_test")
  assert finding.text.startswith("2 of 4 persons of the train part")
  assert finding.cases == (("d/2",), ("d/4",))


def test_disjoint_persons(rec, dataset):
  data = dataset("d", [rec("d/1")], ([rec("d/2")], [rec("d/2", 2)]))
  assert labels.find_shared_persons(data) == []


def test_equal_folds(rec, dataset):
  a, b, g = rec("d/a"), rec("d/b"), rec("d/a", 2)
  folds = [([a, b], [g]), ([a], [g]), ([b, a], [g]), ([a], [g]), ([b], [g])]
  (finding,) = labels.find_equal_folds(dataset("d", (), *folds))
  assert (finding.severity, finding.kind) == ("problem", "equal_folds")
  assert finding.text.startswith("4 of 5 folds")
  assert finding.cases == (("0", "2"), ("1", "3"))
  assert labels.find_equal_folds(dataset("d", (), *folds[:2])) == []
  other_gallery = [([a], [g]), ([a], [g, b])]
  assert labels.find_equal_folds(dataset("d", (), *other_gallery)) == []


def test_what_is_known_is_a_note_and_what_was_found_a_problem(
  dataset, monkeypatch
):
  public = dataclasses.replace(
    MARKET1501, name="known", notes=("Known.",), withdrawn="Withdrawn."
  )
  monkeypatch.setitem(PUBLIC_SETS, "known", public)
  notes = ("Known.", "Withdrawn.", "known is partial")
  data = dataclasses.replace(
    dataset("d"), provenance=Provenance(public="known", notes=notes)
  )
  found = [(f.severity, f.kind, f.text) for f in labels.find_remarks(data)]
  assert found == [
    ("note", "public_set", "Known"),
    ("note", "public_set", "Withdrawn"),
    (
      "problem",
      "partial",
      "known is partial; a run refuses it without --allow-partial",
    ),
  ]


def test_files_that_no_part_has(touch):
  root = touch(
    "bounding_box_train/0001_c1s1_0.jpg",
    "bounding_box_train/-1_c1s1_0.jpg",
    "bounding_box_train/0000_c1s1_0.jpg",
    "query/0002_c1s1_0.jpg",
    "bounding_box_test/0002_c2s1_0.jpg",
    "bounding_box_test/0000_c2s1_0.jpg",
    "bounding_box_test/._0002_c2s1_0.jpg",
    "bounding_box_test/Thumbs.db",
    "gt_bbox/deep/0002_c2s1_0.jpg",
    ".hidden/0002_c2s1_0.jpg",
    "loose.png",
  )
  data = folders.read_market(root, name="m")
  (finding,) = labels.find_unused(data, root)
  assert (finding.severity, finding.kind) == ("note", "unused")
  assert finding.text.startswith(f"4 image files below {root} are in no part")
  assert finding.cases == (
    (".", "1 files"),
    ("bounding_box_train", "2 files"),
    ("gt_bbox", "1 files"),
  )


@pytest.mark.parametrize("fold", [False, True])
def test_every_file_is_used(touch, fold):
  root = touch("1/a.jpg", "2/b.jpg")
  if fold:
    root = touch("x/query/1/a.jpg", "x/gallery/1/b.jpg")
    root = os.path.join(root, "x")
  data = folders.read_folder(root, name="f")
  assert labels.find_unused(data, root) == []


def test_all_of_them_for_each_data_set(rec, dataset):
  a, g = rec("d/a"), rec("d/a", 2)
  both = dataset("d", [a], ([a], [g]), ([a], [g]))
  found = [
    (f.dataset, f.kind) for f in labels.find_all([both, dataset("e"), both])
  ]
  assert found == [("d", "train_and_test"), ("d", "equal_folds")] * 2
