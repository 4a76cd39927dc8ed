"""Digests and files of split lists."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from metabin_jax.data import splits
from metabin_jax.data.records import DataSet, Fold, Provenance, Record


def record(name, pid, camid=1, root="/data", dataset="n"):
  return Record(f"{root}/{name}", f"{dataset}/{pid}", camid, dataset)


def make(root="/data", name="n"):
  def named(file, pid, camid=1):
    return record(file, pid, camid, root, name)

  first = Fold(
    "a", (named("q/1.png", "1"),), (named("g/1.png", "1", 2), named("2", "2"))
  )
  second = Fold("b", (named("q/3.png", "3"),), (named("g/3.png", "3", 2),))
  return DataSet(name, (), (first, second))


DIGEST = splits.split_digest(make())


def test_digest_is_that_of_the_lists_as_compact_json():
  text = (
    '[["a",[["1.png","1",1]],[["1.png","1",2],["2","2",1]]],'
    '["b",[["3.png","3",1]],[["3.png","3",2]]]]'
  )
  assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_digest_does_not_depend_on_place_name_order_or_provenance():
  assert splits.split_digest(make("/mnt/x y/z")) == DIGEST
  assert splits.split_digest(make(name="other")) == DIGEST
  dataset = make()
  first, second = dataset.folds
  turned = dataclasses.replace(
    dataset,
    folds=(dataclasses.replace(first, gallery=first.gallery[::-1]), second),
    train=(record("t", "9"),),
    provenance=Provenance(public="viper", origin="x"),
  )
  assert splits.split_digest(turned) == DIGEST


@pytest.mark.parametrize(
  "changed",
  [
    {"query": (record("q/1.png", "2"),)},
    {"query": (record("q/1.png", "1", 3),)},
    {"query": (record("q/9.png", "1"),)},
    {"gallery": ()},
    {"query": (), "gallery": (record("q/1.png", "1"),)},
    {"name": "c"},
  ],
)
def test_digest_depends_on_the_images_and_their_labels(changed):
  first, second = make().folds
  dataset = DataSet("n", (), (dataclasses.replace(first, **changed), second))
  assert splits.split_digest(dataset) != DIGEST


def test_digest_depends_on_the_order_of_the_folds():
  dataset = make()
  turned = dataclasses.replace(dataset, folds=dataset.folds[::-1])
  assert splits.split_digest(turned) != DIGEST


def test_json():
  provenance = Provenance(public="viper", protocol="metabin", origin="ours")
  dataset = dataclasses.replace(make(), provenance=provenance)
  data = json.loads(json.dumps(splits.to_json(dataset)))
  assert data == {
    "format": "metabin-splits-1",
    "dataset": "viper",
    "protocol": "metabin",
    "origin": "ours",
    "sha256": DIGEST,
    "folds": [
      {
        "name": "a",
        "query": [["1.png", "1", 1]],
        "gallery": [["1.png", "1", 2], ["2", "2", 1]],
      },
      {
        "name": "b",
        "query": [["3.png", "3", 1]],
        "gallery": [["3.png", "3", 2]],
      },
    ],
  }
  assert splits.to_json(make())["dataset"] == "n"


def test_same_split():
  first, second = make().folds
  turned = Fold("z", first.query, first.gallery[::-1])
  assert splits.same_split(first, turned)
  assert not splits.same_split(first, second)
  assert not splits.same_split(first, Fold("a", first.query, second.gallery))
  assert not splits.same_split(first, Fold("a", second.query, first.gallery))
  other = (first.gallery[0], record("9", "9"))
  assert not splits.same_split(first, Fold("a", first.query, other))
