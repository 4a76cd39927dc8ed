from __future__ import annotations

import dataclasses

import pytest

from metabin_jax.cli import provenance
from metabin_jax.data import splits
from metabin_jax.data.records import DataSet, Fold, Provenance, Record
from metabin_jax.errors import UserError

QUERY = Record("/a/q.png", "viper/1", 0, "viper")
GALLERY = Record("/a/g.png", "viper/1", 1, "viper")
TARGET = DataSet(
  "viper",
  (),
  (Fold("1a", (QUERY,), (GALLERY,)), Fold("2a", (GALLERY,), (QUERY,))),
  Provenance(
    public="viper",
    variant="v",
    protocol="metabin",
    origin="generated",
    notes=("viper is partial: 2 images",),
  ),
)


def test_lines_name_protocol_folds_and_digest():
  digest = splits.split_digest(TARGET)
  assert provenance.target_lines([TARGET]) == [
    f"viper: protocol=metabin variant=v folds=2 sha256={digest[:12]} "
    "(generated)",
    "note: viper is partial: 2 images",
  ]


def test_own_data_have_a_digest_too():
  own = dataclasses.replace(TARGET, provenance=Provenance())
  (line,) = provenance.target_lines([own])
  assert line.startswith("viper: protocol=own folds=2 sha256=")


def test_a_note_is_said_once():
  other = dataclasses.replace(TARGET, name="again")
  lines = provenance.target_lines([TARGET, other])
  assert len(lines) == 3
  assert len(lines) == len(set(lines))


def test_json_holds_the_whole_digest():
  found = provenance.target_json([TARGET])
  assert found["viper"]["sha256"] == splits.split_digest(TARGET)
  assert found["viper"]["folds"] == 2
  assert found["viper"]["notes"] == ["viper is partial: 2 images"]


def test_training_notes():
  sources = [{"name": "a", "notes": ["a is partial"]}, {"name": "b"}]
  assert provenance.source_lines(sources) == ["note on training: a is partial"]


def test_two_targets_of_one_name_must_be_the_same_data():
  provenance.reject_other_data(TARGET, dataclasses.replace(TARGET))
  other = dataclasses.replace(TARGET, folds=TARGET.folds[:1])
  complete = dataclasses.replace(
    TARGET, provenance=dataclasses.replace(TARGET.provenance, notes=())
  )
  for changed in (other, complete):
    with pytest.raises(UserError, match="two targets named 'viper' are not"):
      provenance.reject_other_data(TARGET, changed)


def test_what_was_adapted_on():
  folds = {
    "split0": {"images": 30, "pairs": 15, "steps": 1},
    "split1": {"images": 28, "pairs": 14, "steps": 1},
  }
  context = provenance.Context(
    [TARGET], {"a": "x"}, {"a": []}, {"a": 7}, adapted={"a": {"viper": folds}}
  )
  assert provenance.lines(context)[-1] == (
    "a adapted to viper: images 28 to 30, pairs 14 to 15, steps 1"
  )
  assert provenance.to_json(context)["adapted"] == {"a": {"viper": folds}}


def test_warnings_and_steps():
  context = provenance.Context(
    [TARGET], {"a": "cosine"}, {"a": []}, {"a": 7}, ["a: not checked"]
  )
  assert provenance.lines(context)[-1] == "warning: a: not checked"
  found = provenance.to_json(context)
  assert "adapted" not in found
  assert (found["steps"], found["warnings"]) == ({"a": 7}, ["a: not checked"])
