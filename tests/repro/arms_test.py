"""Tests of the named arms: what each changes, and that each can be run."""

from __future__ import annotations

import pathlib

import pytest

from metabin_jax.errors import UserError
from metabin_jax.repro import arms, scales
from metabin_jax.repro.arms import ARMS
from metabin_jax.repro.bnta_arms import BNTA_ARMS
from metabin_jax.repro.comparator_arms import COMPARATORS
from metabin_jax.repro.mar_arms import MAR_ARMS
from metabin_jax.repro.types import SCALES
from metabin_jax.runtime import resolve

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "repro.md"
CE = ("ce",)
CE_TR = ("ce", "triplet")
# The size of the fixed inner step is given nowhere; the arms' notes say what
# was taken: the middle of the released cycle.
FIXED = {"meta.beta_fixed": 0.01}
SECOND_ORDER = {"meta.second_order": True}
NO_BASE_STEP = {"meta.base_step": False}
BN_CE = {"model.norm": "bn", "loss.base": CE}
BIN = {"model.norm": "bin_shared", "optim.joint_rho": True}


def meta(mtrain, mtest):
  return {"loss.mtrain": mtrain, "loss.mtest": mtest}


MLDG_BN_CE = {"method": "mldg", **BN_CE, **meta(CE, CE)}
MLDG_CE_TR = {"method": "mldg", "loss.base": CE_TR, **meta(CE_TR, CE_TR)}
MLDG_BN = {**MLDG_CE_TR, "model.norm": "bn"}
MLDG_BIN = {**MLDG_CE_TR, **BIN}
TR_SCAT = ("triplet", "scatter")
TR_SHUF = ("shuffle", "triplet")
ALL = ("shuffle", "triplet", "scatter")
NO_SEPARATION = {
  "method": "mldg",
  "optim.joint_rho": True,
  "meta.combined": False,
}
# Everything that an arm of the paper's tables changes, whatever the scale.
CHANGES = {
  "bn_ce": {"method": "joint", **BN_CE},
  "bn": {"method": "joint", "model.norm": "bn"},
  "in": {"method": "joint", "model.norm": "in"},
  "bin_half": {"method": "joint", "model.norm": "bin_half"},
  "bin": {"method": "joint", **BIN},
  "bn_ce_mldg": {**MLDG_BN_CE, **FIXED},
  "bn_ce_mldg_cyclic": MLDG_BN_CE,
  "bn_ce_mldg_second_order": {**MLDG_BN_CE, **FIXED, **SECOND_ORDER},
  "bn_ce_mldg_no_base_step": {**MLDG_BN_CE, **FIXED, **NO_BASE_STEP},
  "bn_mldg": {**MLDG_BN, **FIXED},
  "bn_mldg_cyclic": MLDG_BN,
  "bn_mldg_second_order": {**MLDG_BN, **FIXED, **SECOND_ORDER},
  "bn_mldg_no_base_step": {**MLDG_BN, **FIXED, **NO_BASE_STEP},
  "bin_mldg": {**MLDG_BIN, **FIXED},
  "bin_mldg_cyclic": MLDG_BIN,
  "bin_mldg_second_order": {**MLDG_BIN, **FIXED, **SECOND_ORDER},
  "bin_mldg_no_base_step": {**MLDG_BIN, **FIXED, **NO_BASE_STEP},
  "metabin_ce": {**FIXED, **meta(CE, CE)},
  "metabin_ce_tr": {**FIXED, **meta(CE_TR, CE_TR)},
  "metabin_tr": {**FIXED, **meta(("triplet",), ("triplet",))},
  "metabin_tr_scat": {**FIXED, **meta(TR_SCAT, ("triplet",))},
  "metabin_tr_shuf": {**FIXED, **meta(TR_SHUF, ("triplet",))},
  "metabin_all_fixed": {**FIXED, **meta(ALL, ("triplet",))},
  "metabin_all_fixed_mean": {"meta.beta_fixed": 0.0505},
  "metabin": {},
  "metabin_bin": {"model.norm": "bin_shared"},
  "metabin_no_separation": NO_SEPARATION,
  "metabin_no_separation_combined": {**NO_SEPARATION, "meta.combined": True},
  "metabin_no_separation_no_base_step": {
    **NO_SEPARATION,
    **NO_BASE_STEP,
    "meta.combined": True,
    "loss.mtrain": ("ce", *ALL),
  },
  "metabin_second_order": SECOND_ORDER,
  "metabin_paper": {"preset": "paper"},
}
# Networks of Table S1: backbone, width at the quick scale, at the full scale.
# None: the width of the scale's common network, a quarter.
BACKBONES = {
  "metabin_mobilenetv2_1_0": ("mobilenetv2", 0.25, 1.0),
  "metabin_mobilenetv2_1_4": ("mobilenetv2", 0.35, 1.4),
  "metabin_resnet18": ("resnet18", None, 1.0),
  "metabin_resnet34": ("resnet34", None, 1.0),
  "metabin_resnet50": ("resnet50", None, 1.0),
  "metabin_resnet101": ("resnet101", None, 1.0),
  "metabin_resnet152": ("resnet152", None, 1.0),
}


def resolved(name, scale="full", setting="dg"):
  config = scales.get_config(scale, setting)
  changes = scales.overrides(ARMS[name], setting, scale)
  config.update_from_flattened_dict(changes)
  return resolve.resolve(config)


def test_every_arm_is_stated_in_full():
  # The comparators are in comparator_recipes_test.py, BNTA's in
  # bnta_arms_test.py, MAR's in mar_arms_test.py.
  others = (arm.name for arm in (*COMPARATORS, *BNTA_ARMS, *MAR_ARMS))
  named = [*CHANGES, *BACKBONES, *others]
  assert sorted(named) == sorted(ARMS)


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name):
  arm = ARMS[name]
  assert {**arm.changes, **arm.quick} == CHANGES[name]
  assert {**arm.changes, **arm.full} == CHANGES[name]


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones(name):
  arm = ARMS[name]
  backbone, *widths = BACKBONES[name]
  for changes, width in zip((arm.quick, arm.full), widths, strict=True):
    expected = {"model.backbone": backbone}
    if width is not None:
      expected["model.width"] = pytest.approx(width)
    assert {**arm.changes, **changes} == expected


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ARMS)
def test_resolves(name, scale):
  config = resolved(name, scale)
  # Every change arrives: a misspelt key would not resolve at all.
  for key, value in scales.overrides(ARMS[name], "dg", scale).items():
    place = config
    for part in key.split("."):
      place = place[part]
    assert place == value


def test_names_are_folder_names_and_titles_differ():
  assert all(name == arm.name for name, arm in ARMS.items())
  assert all(name.replace("_", "").isalnum() for name in ARMS)
  assert all(name == name.lower() for name in ARMS)
  titles = [arm.title for arm in ARMS.values()]
  assert len(set(titles)) == len(titles)


def test_no_two_arms_are_the_same_but_for_the_default_backbone():
  for scale, alike in (("quick", "resnet18"), ("full", "mobilenetv2_1_4")):
    seen = {}
    for name in ARMS:
      seen.setdefault(resolved(name, scale).to_json(), []).append(name)
    doubles = [names for names in seen.values() if len(names) > 1]
    assert doubles == [["metabin", f"metabin_{alike}"]]


@pytest.mark.parametrize(
  ("name", "mtrain", "mtest"),
  [
    ("ce", {"ce"}, {"ce"}),
    ("ce_tr", {"ce", "triplet"}, {"ce", "triplet"}),
    ("tr", {"triplet"}, {"triplet"}),
    ("tr_scat", {"triplet", "scatter"}, {"triplet"}),
    ("tr_shuf", {"triplet", "shuffle"}, {"triplet"}),
    ("all_fixed", {"triplet", "scatter", "shuffle"}, {"triplet"}),
  ],
)
def test_loss_arms_of_table_2(name, mtrain, mtest):
  config = resolved(f"metabin_{name}")
  assert set(config.loss.mtrain) == mtrain
  assert set(config.loss.mtest) == mtest
  assert set(config.loss.base) == {"ce", "triplet"}
  assert (config.method, config.model.norm) == ("metabin", "bin")
  assert config.meta.beta_fixed == 0.01


def test_metabin_is_the_default_with_the_cycle():
  config = resolved("metabin")
  assert ARMS["metabin"].changes == {}
  assert config.meta.beta_fixed is None
  assert set(config.loss.mtrain) == {"triplet", "scatter", "shuffle"}


@pytest.mark.parametrize("base", ["bn_ce", "bn", "bin"])
@pytest.mark.parametrize(
  ("suffix", "fixed", "second_order", "base_step"),
  [
    ("", 0.01, False, True),
    ("_cyclic", None, False, True),
    ("_second_order", 0.01, True, True),
    ("_no_base_step", 0.01, False, False),
  ],
)
def test_mldg_arms(base, suffix, fixed, second_order, base_step):
  config = resolved(f"{base}_mldg{suffix}")
  losses = ("ce",) if base == "bn_ce" else ("ce", "triplet")
  for phase in ("base", "mtrain", "mtest"):
    assert config.loss[phase] == losses
  assert config.method == "mldg"
  assert config.model.norm == ("bin_shared" if base == "bin" else "bn")
  assert config.optim.joint_rho == (base == "bin")
  assert config.meta.combined
  assert config.meta.beta_fixed == fixed
  assert config.meta.second_order == second_order
  assert config.meta.base_step == base_step


@pytest.mark.parametrize(
  ("name", "norm", "losses"),
  [
    ("bn_ce", "bn", ("ce",)),
    ("bn", "bn", ("ce", "triplet")),
    ("in", "in", ("ce", "triplet")),
    ("bin_half", "bin_half", ("ce", "triplet")),
    ("bin", "bin_shared", ("ce", "triplet")),
    ("dualnorm_metabin", "dualnorm_metabin", ("ce", "triplet")),
  ],
)
def test_arms_trained_end_to_end(name, norm, losses):
  config = resolved(name)
  assert config.method == "joint"
  assert config.model.norm == norm
  assert config.loss.base == losses
  assert config.optim.joint_rho == (name == "bin")


def test_without_episode_separation_everything_is_in_the_meta_step():
  config = resolved("metabin_no_separation")
  assert (config.method, config.model.norm) == ("mldg", "bin")
  assert config.optim.joint_rho
  assert not config.meta.combined
  assert config.meta.base_step
  assert config.loss.mtrain == resolved("metabin").loss.mtrain
  assert config.meta.beta_fixed is None
  assert resolved("metabin_no_separation_combined").meta.combined
  alone = resolved("metabin_no_separation_no_base_step")
  assert not alone.meta.base_step
  assert "ce" in alone.loss.mtrain


def test_other_readings_of_metabin():
  assert resolved("metabin_bin").model.norm == "bin_shared"
  assert resolved("metabin_bin").method == "metabin"
  assert resolved("metabin_second_order").meta.second_order
  assert resolved("metabin_all_fixed_mean").meta.beta_fixed == 0.0505
  paper = resolved("metabin_paper")
  assert (paper.data.sampler, paper.meta.beta_times_rho_lr) == (
    "balanced",
    False,
  )


def test_dualnorm_has_its_own_recipe_at_full_scale_only():
  full = resolved("dualnorm")
  assert (full.data.sampler, full.data.batch_size) == ("shuffle", 64)
  assert (full.model.width, full.model.last_stride) == (1.0, 2)
  assert (full.train.epochs, full.optim.milestones_epochs) == (150.0, (100.0,))
  assert full.optim.nesterov
  deep = resolved("dualnorm_resnet50")
  assert (deep.optim.lr, deep.optim.classifier_factor) == (0.005, 10.0)
  quick, common = resolved("dualnorm", "quick"), resolved("bn", "quick")
  for config in (full, deep, quick):
    assert config.loss.base == ("ce",)
    assert config.loss.smoothing_spread == "all"
    assert (config.eval.flip, config.eval.metric) == (True, "euclidean")
    assert config.model.norm == "dualnorm"
  assert quick.data == common.data
  assert quick.optim == common.optim
  assert quick.train == common.train


@pytest.mark.parametrize("name", ["ibn_a", "ibn_b", "snr"])
def test_comparators_on_resnet50(name):
  assert resolved(name).model.backbone == "resnet50"
  assert resolved(name).model.norm == name
  assert resolved(name, "quick").model.backbone == "resnet18"
  assert ("snr" in resolved(name).loss.base) == (name == "snr")


def test_adabn_is_bn_scored_otherwise():
  plain, adapted = resolved("bn").to_dict(), resolved("adabn").to_dict()
  assert plain["eval"].pop("adapt_bn") == "none"
  assert adapted["eval"].pop("adapt_bn") == "gallery"
  assert plain == adapted


@pytest.mark.parametrize(
  ("name", "norm", "metric", "epochs", "jitter"),
  [
    ("osnet", "bn", "euclidean", 150.0, False),
    ("osnet_ibn", "osnet_ibn", "euclidean", 150.0, True),
    ("osnet_ain", "osnet_ain", "cosine", 100.0, True),
  ],
)
def test_osnet(name, norm, metric, epochs, jitter):
  config = resolved(name, setting="single-a")
  assert (config.model.backbone, config.model.norm) == ("osnet", norm)
  assert (config.optim.optimizer, config.optim.lr) == ("amsgrad", 0.0015)
  assert (config.eval.metric, config.train.epochs) == (metric, epochs)
  assert config.data.jitter == jitter
  assert config.optim.classifier_only_epochs == 10.0
  assert config.loss.base == ("ce",)
  expected = "cosine" if name == "osnet_ain" else "multistep"
  assert config.optim.schedule == expected


def test_unknown_arm_names_its_neighbours():
  assert arms.get_arm("metabin") is ARMS["metabin"]
  with pytest.raises(UserError, match="'metabn' is unknown; did you mean meta"):
    arms.get_arm("metabn")


def test_docs_list_every_arm_as_it_is():
  rows = {}
  for line in PAGE.read_text("utf-8").splitlines():
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if len(cells) == 3 and cells[0].startswith("`"):
      rows[cells[0].strip("`")] = cells[1:]
  assert rows == {name: [arm.title, arm.note] for name, arm in ARMS.items()}
