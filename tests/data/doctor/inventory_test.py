from __future__ import annotations

import dataclasses

import known_sets
import pytest

from metabin_jax.data import protocols
from metabin_jax.data.doctor import inventory
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.errors import UserError

SETS = ("market1501", "dukemtmc", "viper")


@pytest.fixture
def root(tmp_path, monkeypatch):
  known_sets.only(monkeypatch, *SETS)
  known_sets.build(tmp_path, *SETS)
  return tmp_path


def take(root, count=True, licensed_copy=False):
  entries = inventory.take_inventory(
    list(PUBLIC_SETS.values()),
    [str(root)],
    count=count,
    licensed_copy=licensed_copy,
  )
  return {entry.public.name: entry for entry in entries}


def test_found_or_not(root, tmp_path):
  entries = take(root, count=False)
  assert list(entries) == list(SETS)
  assert entries["viper"].folder == str(root / "VIPeR")
  assert entries["viper"].found is None
  nowhere = take(tmp_path / "nowhere")
  assert [(e.folder, e.fault) for e in nowhere.values()] == [("", "")] * 3


def test_counts_are_compared(root, monkeypatch):
  known_sets.complete(monkeypatch, root, "viper")
  entries = take(root)
  assert entries["viper"].fault == ""
  assert entries["viper"].found["cam_a"].pids > 0
  assert "train: expected 12,936 images" in entries["market1501"].fault
  assert entries["market1501"].found["train"].images > 0


def test_withdrawn_sets_are_read_with_a_licensed_copy_only(root, monkeypatch):
  known_sets.complete(monkeypatch, root, "dukemtmc")
  entry = take(root)["dukemtmc"]
  assert "withdrawn" in entry.fault
  assert "--i-have-a-licensed-copy" in entry.fault
  assert entry.found is None
  entry = take(root, licensed_copy=True)["dukemtmc"]
  assert entry.fault == ""
  assert entry.found


@pytest.fixture
def protocol(monkeypatch):
  """A protocol of the three sets."""
  made = protocols.Protocol(
    "tiny",
    "a title",
    ("market1501?use=all", "dukemtmc?use=all"),
    ("viper?protocol=metabin",),
    "a description",
  )
  monkeypatch.setitem(protocols.PROTOCOLS, "tiny", made)
  return made


def check(*folders, open_sets=False, licensed_copy=False):
  return inventory.check_protocol(
    "tiny",
    [str(folder) for folder in folders],
    PUBLIC_SETS,
    open_sets=open_sets,
    licensed_copy=licensed_copy,
  )


def test_a_protocol_that_can_be_run(root, protocol, monkeypatch):
  ready = check(root)
  assert ready.runs
  assert not ready.opened
  assert ready.withdrawn == ("dukemtmc",)
  known_sets.complete(monkeypatch, root, *SETS)
  ready = check(root, open_sets=True, licensed_copy=True)
  assert ready.runs
  assert ready.opened
  ready = check(root, open_sets=True)
  assert not ready.runs
  assert len(ready.faults) == 1
  assert "withdrawn" in ready.faults[0]


def test_a_protocol_with_wrong_counts(root, protocol, monkeypatch):
  known_sets.complete(monkeypatch, root, "market1501", "dukemtmc")
  ready = check(root, open_sets=True, licensed_copy=True)
  assert not ready.runs
  assert "is not the published data set" in ready.faults[0]


def test_a_protocol_with_missing_sets(root, protocol, tmp_path):
  part = tmp_path / "part"
  (part / "VIPeR").mkdir(parents=True)
  ready = check(part)
  assert not ready.runs
  assert ready.missing == ("market1501", "dukemtmc")
  assert ready.faults == ()
  (fault,) = check(part, open_sets=True).faults
  assert str(part / "VIPeR") in fault
  # The folder that has the most.
  assert check(part, root).root == str(root)
  assert check(tmp_path / "empty", part).root == str(part)


def test_a_protocol_of_a_set_that_is_not_known(root, protocol, monkeypatch):
  known_sets.only(monkeypatch, "market1501", "viper")
  assert check(root).missing == ("dukemtmc",)


def test_an_unknown_protocol(root):
  with pytest.raises(UserError, match="'tiny' is unknown"):
    check(root)


def test_descriptions_of_tests(root):
  entries = take(root, count=False)
  viper = f"viper:{root}/VIPeR?use=standard"
  assert inventory.split_specs(list(entries.values())) == [
    f"market1501:{root}/Market-1501-v15.09.15?use=standard",
    f"dukemtmc:{root}/DukeMTMC-reID?use=standard",
    *(f"{viper}&protocol={p}" for p in PUBLIC_SETS["viper"].protocols),
  ]
  away = dataclasses.replace(entries["viper"], folder="")
  assert inventory.split_specs([away]) == []


def test_sets_to_train_on_have_no_split_lists(root, monkeypatch):
  known_sets.only(monkeypatch, "caviar")
  entry = inventory.Entry(PUBLIC_SETS["caviar"], str(root))
  assert inventory.split_specs([entry]) == []
