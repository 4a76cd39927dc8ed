"""BNTA's arms: the paper's recipe at full scale, the common one at quick."""

from __future__ import annotations

import pathlib
import runpy

import pytest

from metabin_jax.repro import scales
from metabin_jax.repro.arms import ARMS
from metabin_jax.repro.bnta_arms import BNTA_ARMS
from metabin_jax.runtime import resolve

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
LOSSES = {
  "bnta_id": ("ce",),
  "bnta_position": ("position",),
  "bnta_match": ("match",),
  "bnta_id_position": ("ce", "position"),
  "bnta_id_match": ("ce", "match"),
  "bnta": ("ce", "position", "match"),
}


def resolved(name, scale):
  config = scales.get_config(scale, "dg")
  changes = scales.overrides(ARMS[name], "dg", scale)
  config.update_from_flattened_dict(changes)
  return resolve.resolve(config)


def test_there_are_no_others():
  assert [arm.name for arm in BNTA_ARMS] == [*LOSSES, "metabin_parts"]


@pytest.mark.parametrize("name", LOSSES)
def test_arms_differ_by_their_losses_alone(name):
  for scale in ("quick", "full"):
    found, all_losses = resolved(name, scale), resolved("bnta", scale)
    assert found.loss.base == LOSSES[name]
    data = found.to_dict()
    data["loss"]["base"] = all_losses.loss.base
    assert data == all_losses.to_dict()


def test_the_full_scale_is_the_configuration_file_s():
  file = runpy.run_path(str(CONFIGS / "bnta_resnet50.py"))
  published = resolve.resolve(file["get_config"]()).to_dict()
  found = resolved("bnta", "full").to_dict()
  # Tables score a run adapted and not; snapshots are the scale's.
  assert published["eval"].pop("adapt") == "bnta"
  assert found["eval"].pop("adapt") == "none"
  for data in (published, found):
    for key in ("checkpoint_every_steps", "keep_checkpoints"):
      data["train"].pop(key)
    # Joint training has no meta step.
    data.pop("meta")
  assert found == published


def test_the_quick_scale_keeps_the_common_data_and_schedule():
  found, common = resolved("bnta", "quick"), resolved("bn", "quick")
  for section in ("data", "optim", "train", "eval"):
    assert found[section] == common[section]
  assert found.model.norm == "dualnorm"
  assert (found.model.heads, found.model.parts) == ("bnta", 4)
  assert found.loss.smoothing == 0.0


def test_metabin_with_part_heads_is_metabin_but_for_them():
  found = resolved("metabin_parts", "full").to_dict()
  plain = resolved("metabin", "full").to_dict()
  assert found["loss"].pop("base") == ("ce", "triplet", "position", "match")
  assert plain["loss"].pop("base") == ("ce", "triplet")
  assert found["model"].pop("heads") == "bnta"
  plain["model"].pop("heads")
  assert found == plain
