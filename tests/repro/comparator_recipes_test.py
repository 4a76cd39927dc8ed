"""Every comparator's recipe, key by key, at both scales.

A changed number of epochs or a lost step still trains and still resolves; only
a second statement of the recipe notices. From the notes on the systems; where
these are silent, from the arm's own note.
"""

from __future__ import annotations

import pytest

from metabin_jax.repro import scales
from metabin_jax.repro.arms import ARMS
from metabin_jax.repro.comparator_arms import COMPARATORS
from metabin_jax.runtime import resolve

DUALNORM = {
  "method": "joint",
  "model.norm": "dualnorm",
  "loss.base": ("ce",),
  # (1 - eps) * onehot + eps / M.
  "loss.smoothing_spread": "all",
  "eval.flip": True,
  "eval.metric": "euclidean",
}
DUALNORM_FULL = {
  **DUALNORM,
  "model.last_stride": 2,
  "model.width": 1.0,
  "data.sampler": "shuffle",
  "data.batch_size": 64,
  "optim.nesterov": True,
  # Not stated: the arm's note has one rate for all and no warm-up.
  "optim.bias_factor": 1.0,
  "optim.warmup_epochs": 0.0,
}
OSNET = {
  "method": "joint",
  "model.backbone": "osnet",
  "loss.base": ("ce",),
  "optim.optimizer": "amsgrad",
  "optim.lr": 0.0015,
  "optim.bias_factor": 1.0,
}
OSNET_FULL = {
  **OSNET,
  "loss.smoothing_spread": "all",
  "data.pad_px": 0,
  "model.width": 1.0,
  "data.sampler": "shuffle",
  "data.batch_size": 64,
  "optim.warmup_epochs": 0.0,
  "optim.classifier_only_epochs": 10.0,
  # A step every 60 epochs; the cosine of AIN does not look at them.
  "optim.milestones_epochs": (60.0, 120.0),
}
JOINT = {"method": "joint"}
RESNET50 = {"model.backbone": "resnet50", "model.width": 1.0}
SNR = {
  **JOINT,
  "model.norm": "snr",
  "loss.base": ("ce", "triplet", "snr"),
}

# arm -> everything it changes at the quick scale, and at the full scale.
RECIPES = {
  "dualnorm": (
    DUALNORM,
    {
      **DUALNORM_FULL,
      "model.backbone": "mobilenetv2",
      "train.epochs": 150.0,
      "optim.milestones_epochs": (100.0,),
    },
  ),
  "dualnorm_resnet50": (
    {**DUALNORM, "model.backbone": "resnet50"},
    {
      **DUALNORM_FULL,
      "model.backbone": "resnet50",
      # Backbone 0.005, classifier 0.05.
      "optim.lr": 0.005,
      "optim.classifier_factor": 10.0,
      # Not stated: 60, as BNTA trains it.
      "train.epochs": 60.0,
      "optim.milestones_epochs": (40.0,),
    },
  ),
  "dualnorm_metabin": (
    {**JOINT, "model.norm": "dualnorm_metabin"},
    {**JOINT, "model.norm": "dualnorm_metabin"},
  ),
  "switchable": (
    {**JOINT, "model.norm": "switchable"},
    {**JOINT, "model.norm": "switchable"},
  ),
  "ibn_a": (
    {**JOINT, "model.norm": "ibn_a"},
    {**JOINT, "model.norm": "ibn_a", **RESNET50},
  ),
  "ibn_b": (
    {**JOINT, "model.norm": "ibn_b"},
    {**JOINT, "model.norm": "ibn_b", **RESNET50},
  ),
  "snr": (SNR, {**SNR, **RESNET50}),
  "adabn": (
    {**JOINT, "model.norm": "bn", "eval.adapt_bn": "gallery"},
    {**JOINT, "model.norm": "bn", "eval.adapt_bn": "gallery"},
  ),
  "osnet": (
    {**OSNET, "model.norm": "bn"},
    {
      **OSNET_FULL,
      "model.norm": "bn",
      "train.epochs": 150.0,
      "eval.metric": "euclidean",
      "data.jitter": False,
    },
  ),
  "osnet_ibn": (
    {**OSNET, "model.norm": "osnet_ibn"},
    {
      **OSNET_FULL,
      "model.norm": "osnet_ibn",
      "train.epochs": 150.0,
      "eval.metric": "euclidean",
      "data.jitter": True,
    },
  ),
  "osnet_ain": (
    {**OSNET, "model.norm": "osnet_ain"},
    {
      **OSNET_FULL,
      "model.norm": "osnet_ain",
      "train.epochs": 100.0,
      "optim.schedule": "cosine",
      "data.jitter": True,
    },
  ),
}
# What the recipes have in common with the common one and leave to it.
INHERITED = {
  "loss.smoothing": 0.1,
  "data.height_px": 256,
  "data.width_px": 128,
  "data.flip_prob": 0.5,
  "data.erasing_prob": 0.0,
}
SGD = {
  **INHERITED,
  "optim.optimizer": "sgd",
  "optim.schedule": "multistep",
  "optim.decay": 0.1,
  "optim.momentum": 0.9,
  "optim.weight_decay": 5e-4,
  "data.pad_px": 10,
  "data.jitter": False,
}
FROM_COMMON = {
  "dualnorm": {**SGD, "optim.lr": 0.01, "optim.classifier_factor": 1.0},
  "dualnorm_resnet50": SGD,
  "osnet": {**INHERITED, "optim.schedule": "multistep", "optim.decay": 0.1},
  "osnet_ibn": {**INHERITED, "optim.schedule": "multistep", "optim.decay": 0.1},
  "osnet_ain": {**INHERITED, "eval.metric": "cosine"},
}


def test_every_comparator_has_its_recipe_here():
  assert set(RECIPES) == {arm.name for arm in COMPARATORS}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name):
  arm = ARMS[name]
  quick, full = RECIPES[name]
  assert {**arm.changes, **arm.quick} == quick
  assert {**arm.changes, **arm.full} == full


@pytest.mark.parametrize("name", FROM_COMMON)
def test_parts_left_to_the_common_recipe(name):
  config = scales.get_config("full", "dg")
  config.update_from_flattened_dict(scales.overrides(ARMS[name], "dg", "full"))
  resolved = resolve.resolve(config)
  found = {}
  for key in FROM_COMMON[name]:
    section, part = key.split(".")
    found[key] = resolved[section][part]
  assert found == FROM_COMMON[name]
