"""Every study at the full scale, a few iterations on the miniatures."""

from __future__ import annotations

import importlib
import json

import pytest
from miniatures import dukemtmc

from metabin_jax.cli.main import main
from metabin_jax.data import protocols
from metabin_jax.repro import specification
from metabin_jax.repro.arms import ARMS
from metabin_jax.repro.tables import STUDIES

SIZE = ("data.height_px=32", "data.width_px=16")
# Of the smaller size MobileNetV2 leaves maps of 2x1 pixels: nearly constant
# ones, whose instance norms blow gradients up (arm bin_half: weights of 1e16).
LARGER = ("data.height_px=64", "data.width_px=32")
# What depends on the data: size, images of a batch.
DATA = {
  "dg": (*SIZE, "data.batch_size=20"),
  "single-a": (*SIZE, "data.batch_size=24"),
  "single-b": (*SIZE, "data.batch_size=32"),
  "supervised": (*LARGER, "data.batch_size=24"),
  # MSMT17 in small has four cameras.
  "site": (
    *SIZE,
    "data.batch_size=16",
    "meta.num_mtrain=3",
    "mar.batch_size=8",
  ),
}
# Likewise second-order MLDG on BIN: at 32x16 gradients of norm 5e4 at the first
# iteration, weights of 1e11 to 1e18, by rounding, at the second.
DATA_OF = {("readings", "dg"): (*LARGER, "data.batch_size=20")}
SMALL = (
  "data.instances=2",
  "data.pad_px=2",
  "model.width=0.25",
  "train.steps=2",
  "train.steps_per_epoch=2",
  "train.checkpoint_every_steps=2",
  "meta.first_base_updates=1",
  "eval.batch_size=16",
)
# Studies of one arm's numbers need no second look at its large network. BNTA's
# has its look in bnta_fig4; elsewhere each way of adapting is a compilation.
NUMBERS = ("fig2", "s1", "s3", "s4")
NUMBERS += ("bnta_table3", "bnta_table4", "bnta_table5")
NUMBERS += ("bnta_steps", "bnta_beyond")
NUMBERS += ("mar_ratio", "mar_beta", "mar_needs")
SETTINGS = sorted(
  (study.name, setting)
  for study in STUDIES.values()
  for setting in study.settings
)


@pytest.fixture(scope="module", name="place")
def place_fixture(tmp_path_factory):
  """The miniatures, and one output folder: studies share their jobs."""
  folder = tmp_path_factory.mktemp("full")
  for name in ("metabin", "market-to-duke"):
    protocol = protocols.PROTOCOLS[name]
    for data in protocol.sources + protocol.targets:
      if not (folder / "data" / data).exists():
        importlib.import_module(f"miniatures.{data}").build(folder / "data")
  importlib.import_module("miniatures.msmt17").build(folder / "data")
  # Its eight cameras as domains: two persons of each in a batch.
  dukemtmc.add_training(folder / "data" / "DukeMTMC-reID", range(7200, 7208))
  return folder


@pytest.mark.slow
@pytest.mark.parametrize(("study", "setting"), SETTINGS)
def test_every_arm_of_a_study(place, monkeypatch, study, setting):
  monkeypatch.setenv("METABIN_DATA", str(place / "data"))
  monkeypatch.setenv("METABIN_CACHE", str(place / "cache"))
  # Minutes of timing otherwise; specification_test.py looks at its numbers.
  measure = specification.measure
  monkeypatch.setattr(
    specification,
    "measure",
    lambda names: measure(names[:1], batch=2, repeats=1),
  )
  backbone = ("model.backbone=resnet18",) if study in NUMBERS else ()
  entries = [e for e in STUDIES[study].entries if e.arm is not None]
  defining = {
    key for e in entries for key in (*e.changes, *ARMS[e.arm].changes)
  }
  if study == "table-s1":
    defining |= {"model.width"}
  # The published K for the published batches: else more persons are asked for
  # than the miniatures have.
  if "data.batch_size" in defining:
    defining |= {"data.instances"}
  data = DATA_OF.get((study, setting), DATA[setting])
  words = [
    f"--set={word}"
    for word in (*SMALL, *data, *backbone)
    if word.partition("=")[0] not in defining
  ]
  table = place / f"{study}-{setting}.json"
  status = main(
    [
      "repro",
      study,
      "--scale=full",
      f"--settings={setting}",
      "--jobs=2",
      f"--out={place / 'out'}",
      f"--json={table}",
      "--allow-partial",
      "--i-have-a-licensed-copy",
      *words,
    ]
  )
  assert status == 0
  rows = json.loads(table.read_text())["rows"]
  ran = [row for row in rows if row["ours"]]
  assert [row["arm"] for row in ran] == [entry.arm for entry in entries]
  for row in ran:
    # Snapshots are scored in the run's own way alone.
    assert row["best_steps"] == ([] if row["evaluation"] else [2])
    # By another rule than the usual one it has another name.
    (score,) = (
      value
      for name, value in row["ours"]["average"].items()
      if name.startswith("mAP")
    )
    assert 0 < score["mean"] <= 100
