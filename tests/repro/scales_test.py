"""Tests of the two scales: data, schedules, and rules of the settings."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from metabin_jax.data import checks, protocols, readers
from metabin_jax.errors import UserError
from metabin_jax.repro import scales
from metabin_jax.repro.types import SCALES, SETTINGS, Arm
from metabin_jax.runtime import resolve

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
PLAIN = Arm("plain", "Plain", {})


def load(name):
  spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def without(config, *keys):
  values = resolve.to_dict(resolve.resolve(config))
  for key in keys:
    section, name = key.split(".")
    del values[section][name]
  return values


KEPT = ("train.checkpoint_every_steps", "train.keep_checkpoints")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("scale", SCALES)
def test_resolves_with_readable_data(scale, setting):
  config = resolve.resolve(scales.get_config(scale, setting))
  specs = (*config.data.sources, *config.data.targets)
  assert len(config.data.targets) == (4 if setting == "dg" else 1)
  for spec in specs:
    reader = readers.parse_spec(spec).reader
    assert (reader == "synthetic") == (scale == "quick")


def test_quick_is_the_quickstart_but_for_its_length():
  keys = (*KEPT, "train.steps_per_epoch", "train.log_every_steps")
  ours = scales.get_config("quick", "dg")
  assert without(ours, *keys) == without(load("quickstart").get_config(), *keys)
  steps = ours.train.epochs * ours.train.steps_per_epoch
  assert steps == 600
  # Every snapshot is kept, the last iteration among them.
  assert (
    steps == ours.train.checkpoint_every_steps * ours.train.keep_checkpoints
  )


def test_full_dg_is_the_published_experiment():
  ours = scales.get_config("full", "dg")
  published = load("metabin_mobilenetv2").get_config()
  assert without(ours, *KEPT) == without(published, *KEPT)


@pytest.mark.parametrize(
  ("setting", "name"), [("single-a", "market"), ("single-b", "duke")]
)
def test_full_single_source_is_the_released_recipe(setting, name):
  ours = without(scales.get_config("full", setting), *KEPT)
  released = without(load(f"single_source_{name}").get_config(), *KEPT)
  assert ours == released


def test_full_supervised_differs_from_dg_by_the_data_alone():
  keys = (
    *KEPT,
    "data.sources",
    "data.targets",
    "data.batch_size",
    "meta.num_mtrain",
  )
  ours = scales.get_config("full", "supervised")
  assert without(ours, *keys) == without(scales.get_config("full", "dg"), *keys)
  sources, targets = protocols.specs("market", protocols.data_root())
  assert (ours.data.sources, ours.data.targets) == (sources, targets)
  # Six cameras share the batch, three are meta-train.
  assert (ours.data.batch_size, ours.meta.num_mtrain) == (96, 3)


@pytest.mark.parametrize("scale", SCALES)
def test_single_source_adds_cross_entropy_to_the_meta_losses(scale):
  for setting in SETTINGS:
    config = scales.get_config(scale, setting)
    single = setting.startswith("single")
    for losses in (config.loss.mtrain, config.loss.mtest):
      assert ("ce" in losses) == single
    assert config.data.jitter == single
  assert scales.get_config(scale, "single-a").optim.rho_lr == 0.2
  assert scales.get_config(scale, "single-b").optim.rho_lr == 0.5


def test_quick_single_source_swaps_two_domains():
  pairs = {}
  for setting in ("single-a", "single-b", "supervised"):
    config = scales.get_config("quick", setting)
    (source,), (target,) = config.data.sources, config.data.targets
    source, target = readers.parse_spec(source), readers.parse_spec(target)
    assert source.options["domain"] == "camera"
    assert target.options["name"] == target.options["domains"]
    pairs[setting] = source.options["domains"], target.options["domains"]
    # Two persons x four images from each of six cameras.
    assert config.data.batch_size == 6 * 2 * config.data.instances
  assert pairs["single-a"] == pairs["single-b"][::-1]
  assert len(set(pairs["supervised"])) == 1


def test_overrides_take_the_part_of_the_scale():
  arm = Arm("a", "A", {"x": 1, "y": 1}, quick={"x": 2}, full={"x": 3})
  assert scales.overrides(arm, "dg", "quick") == {"x": 2, "y": 1}
  assert scales.overrides(arm, "dg", "full") == {"x": 3, "y": 1}
  assert arm.changes == {"x": 1, "y": 1}


def test_overrides_add_cross_entropy_where_an_arm_names_meta_losses():
  arm = Arm(
    "a",
    "A",
    {"loss.mtrain": ("triplet",), "loss.mtest": ("ce",), "loss.base": ("ce",)},
  )
  assert scales.overrides(arm, "single-a", "quick") == {
    "loss.mtrain": ("ce", "triplet"),
    "loss.mtest": ("ce",),
    "loss.base": ("ce",),
  }
  for setting in ("dg", "supervised"):
    assert scales.overrides(arm, setting, "quick") == arm.changes
  assert scales.overrides(PLAIN, "single-b", "full") == {}


def test_mistakes():
  with pytest.raises(UserError, match="scale 'huge' is unknown; use one of qu"):
    scales.get_config("huge", "dg")
  with pytest.raises(UserError, match="setting 'dp' is unknown; use one of dg"):
    scales.overrides(PLAIN, "dp", "quick")


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_quick_data_passes_the_checks(setting):
  config = scales.get_config("quick", setting)
  sources = [readers.open_dataset(spec) for spec in config.data.sources]
  targets = [readers.open_dataset(spec) for spec in config.data.targets]
  report = checks.check_sources(sources)
  assert len(report.domains) == {"dg": 5, "site": 4}.get(setting, 6)
  for fold in checks.check_targets(sources, targets):
    assert fold.num_valid == fold.num_query == 90
