"""Presets, checks and storage of configurations."""

from __future__ import annotations

import json

import pytest

from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.runtime import resolve

RELEASED = {
  "meta.beta_times_rho_lr": True,
  "meta.first_base_updates": 10,
  "data.sampler": "identity",
  "optim.warmup_factor": 0.01,
  "loss.smoothing_spread": "others",
  "loss.scatter_normalize": True,
}
PAPER = {
  "meta.beta_times_rho_lr": False,
  "meta.first_base_updates": 1,
  "data.sampler": "balanced",
  "optim.warmup_factor": 0.1,
  "loss.smoothing_spread": "all",
  "loss.scatter_normalize": False,
}


def make(**changes):
  """The defaults with changes, "model__width" for model.width."""
  config = default_config.get_config()
  for key, value in changes.items():
    *sections, name = key.split("__")
    target = config
    for section in sections:
      target = target[section]
    with target.ignore_type():
      target[name] = value
  return config


def get(config, key):
  for part in key.split("."):
    config = config[part]
  return config


@pytest.mark.parametrize(
  ("preset", "values"), [("released", RELEASED), ("paper", PAPER)]
)
def test_presets_fill_what_is_blank(preset, values):
  config = resolve.resolve(make(preset=preset))
  assert {key: get(config, key) for key in values} == values


def test_a_value_of_ones_own_wins_over_the_preset():
  config = resolve.resolve(
    make(
      preset="paper",
      meta__first_base_updates=7,
      loss__scatter_normalize=True,
      meta__beta_times_rho_lr=False,
    )
  )
  assert config.meta.first_base_updates == 7
  assert config.loss.scatter_normalize is True
  # False is a value, not a blank.
  released = resolve.resolve(make(meta__beta_times_rho_lr=False))
  assert released.meta.beta_times_rho_lr is False


def test_resolving_leaves_its_argument_alone_and_freezes_the_result():
  config = make()
  resolved = resolve.resolve(config)
  assert config.meta.first_base_updates is None
  with pytest.raises(AttributeError):
    resolved.model.width = 2.0


@pytest.mark.parametrize("preset", ["released", "paper"])
@pytest.mark.parametrize("fixed", [None, 0.05])
def test_storage_loses_nothing(preset, fixed):
  config = resolve.resolve(
    make(
      preset=preset, meta__beta_fixed=fixed, data__sources=("folder:a", "b:c")
    )
  )
  stored = json.loads(json.dumps(resolve.to_dict(config)))
  back = resolve.resolve(resolve.from_dict(stored))
  assert back == config
  assert resolve.to_dict(back) == stored
  assert back.optim.milestones_epochs == (40.0, 70.0)  # a tuple again


def test_whole_numbers_do_for_floating_keys():
  config = resolve.resolve(
    make(train__epochs=3, optim__lr=1, meta__beta_fixed=1)
  )
  assert isinstance(config.train.epochs, float)
  assert isinstance(config.optim.lr, float)
  assert (
    resolve.resolve(
      make(train__epochs=3.0, optim__lr=1.0, meta__beta_fixed=1.0)
    )
    == config
  )


def test_unknown_stored_keys_are_refused():
  stored = resolve.to_dict(resolve.resolve(make()))
  stored["model"]["widht"] = stored["model"].pop("width")
  with pytest.raises(UserError, match=r"model\.widht; did you mean model\.wid"):
    resolve.from_dict(stored)
  with pytest.raises(UserError, match=r"key zzz; metabin_jax/default_config"):
    resolve.from_dict({"zzz": 1})


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"method": "maml"}, "method is 'maml'; choose one of metabin, joint"),
    ({"preset": "x"}, "preset is 'x'; choose one of released, paper"),
    (
      {"model__backbone": "vgg"},
      "backbone is 'vgg'; .* mobilenetv2_standard, osnet, resnet101, resnet152",
    ),
    ({"model__norm": "gn"}, "model.norm is 'gn'; choose one of .*bin_half"),
    ({"model__dtype": "float16"}, "dtype is 'float16'; .* bfloat16"),
    ({"data__sampler": "x"}, "data.sampler is 'x'"),
    ({"data__loader": "x"}, "data.loader is 'x'; choose one of array, tf"),
    (
      {"data__cache": "ram"},
      "data.cache is 'ram'; choose one of memory, disk, none",
    ),
    ({"data__cache_dir": 3}, "data.cache_dir is 3; give it a value of type"),
    ({"loss__smoothing_spread": "x"}, "smoothing_spread is 'x'"),
    ({"meta__second_order_by": "x"}, "second_order_by is 'x'"),
    ({"eval__metric": "x"}, "eval.metric is 'x'; .* cosine, euclidean"),
    ({"model__width": 0.0}, "model.width is 0.0; it must be above 0"),
    (
      {"model__width": "a"},
      "model.width is 'a'; give it a value of type float",
    ),
    ({"model__width": None}, "model.width has no value"),
    ({"model__width": {}}, "model.width is {}; give it one value"),
    ({"model": 3}, "model is 3; set the keys below it"),
    ({"model__widht": 1.0}, r"unknown .* model\.widht; did you mean model\.w"),
    ({"train__steps": 1.5}, "train.steps is 1.5; give it a value of type int"),
    ({"train__steps": -1}, "train.steps is -1; it must be at least 0"),
    ({"train__seed": -1}, "train.seed is -1"),
    ({"train__seed": 2**31}, "train.seed is 2147483648; .* at most"),
    ({"optim__lr": float("nan")}, "optim.lr is nan; it must be a finite"),
    ({"optim__lr": float("inf")}, "optim.lr is inf; it must be a finite"),
    ({"optim__momentum": 1.0}, "optim.momentum is 1.0; .* below 1"),
    ({"optim__milestones_epochs": (7.0, 3.0)}, "milestones_epochs .* rising"),
    ({"optim__milestones_epochs": ("a",)}, "milestones_epochs .* rising"),
    ({"loss__smoothing": 1.0}, "loss.smoothing is 1.0; .* below 1"),
    ({"loss__weights__ce": -1.0}, "loss.weights.ce is -1.0"),
    ({"loss__base": ()}, r"loss.base is \(\); name at least one of ce, trip"),
    ({"loss__mtest": ("ce", "arc")}, "loss.mtest is .*arc.*ce, triplet, shuf"),
    ({"meta__beta_high": 0.0001}, "beta_high is 0.0001; .* 0.001"),
    ({"meta__beta_fixed": -0.1}, "beta_fixed is -0.1"),
    ({"data__sources": "folder:a"}, "data.sources is 'folder:a'; .* tuple"),
    ({"data__targets": (1,)}, r"data.targets is \(1,\); write descriptions"),
    ({"eval__ranks": (0,)}, r"eval.ranks is \(0,\); write whole numbers"),
    ({"eval__ranks": ("a",)}, "eval.ranks is"),
    ({"eval__ranks": ()}, "eval.ranks is"),
    (
      {"eval__ap": "voc"},
      "eval.ap is 'voc'; choose one of interpolation-free, trapezoid, mar",
    ),
    ({"eval__place": "tpu"}, "eval.place is 'tpu'; .* auto, host, device"),
    ({"eval__fprs": (0.0,)}, r"eval.fprs is \(0.0,\); write different shares"),
    ({"eval__fprs": (0.1, 1)}, "eval.fprs is"),
    ({"eval__fprs": ("a",)}, "eval.fprs is"),
    ({"eval__fprs": (0.1, 0.1)}, "eval.fprs is"),
    ({"eval__rerank_k1": 0}, "eval.rerank_k1 is 0; it must be above 0"),
    ({"eval__rerank_k2": 0}, "eval.rerank_k2 is 0; it must be above 0"),
    ({"eval__rerank_lambda": -0.1}, "rerank_lambda is -0.1; .* from 0 to 1"),
    ({"eval__rerank_lambda": 1.1}, "rerank_lambda is 1.1; .* from 0 to 1"),
    ({"eval__query_expansion": -1}, "query_expansion is -1; .* at least 0"),
    (
      {"eval__query_expansion": 5, "eval__metric": "euclidean"},
      "eval.query_expansion is 5.*set eval.metric to 'cosine'",
    ),
    ({"model__norm": "bn"}, "'bn' has no rho to learn; use 'bin'"),
    (
      {"method": "joint", "model__norm": "in", "optim__joint_rho": True},
      "'in' has no rho",
    ),
    ({"optim__joint_rho": True}, "joint_rho is for method 'joint' or 'mldg'"),
    (
      {"method": "mldg", "model__norm": "in", "optim__joint_rho": True},
      "'in' has no rho .* method 'joint' or 'mldg' with optim.joint_rho=False",
    ),
    ({"meta__combined": False}, "meta.combined is False, .* method 'metabin'"),
    (
      {"meta__base_step": False, "method": "joint"},
      "meta.base_step is False, .* 'mldg'; set it to True for method 'joint'",
    ),
    (
      {"method": "mldg", "meta__second_order_by": "forward"},
      "second_order_by is 'forward', and method 'mldg' knows 'reverse' only",
    ),
    (
      {"optim__optimizer": "lion"},
      "optimizer is 'lion'; .* sgd, adam, amsgrad",
    ),
    ({"optim__schedule": "x"}, "schedule is 'x'; .* multistep, cosine"),
    ({"optim__classifier_factor": -1.0}, "classifier_factor is -1.0"),
    ({"optim__classifier_only_epochs": -1.0}, "only_epochs is -1.0; .* least"),
    (
      {"optim__classifier_only_epochs": 1.0},
      "only_epochs is 1, and it is for method 'joint'; set it to 0",
    ),
    (
      {"optim__nesterov": True, "optim__optimizer": "amsgrad"},
      "optim.nesterov is for optim.optimizer 'sgd' .* 'amsgrad' and 0.9",
    ),
    (
      {"optim__nesterov": True, "optim__momentum": 0.0},
      "optim.nesterov is for .* 'sgd' and 0",
    ),
    (
      {"data__sampler": "shuffle", "loss__base": ("ce",)},
      "data.sampler 'shuffle' is for methods 'joint' and 'mar'; .* 'metabin'",
    ),
    (
      {"data__sampler": "shuffle", "method": "joint"},
      "loss.base has triplet, which compares",
    ),
    (
      {
        "data__sampler": "shuffle",
        "method": "joint",
        "loss__base": ("ce", "scatter", "shuffle"),
      },
      "loss.base has scatter, shuffle, which",
    ),
    ({"eval__adapt_bn": "query"}, "adapt_bn is 'query'; .* none, gallery, all"),
  ],
)
def test_mistakes_name_the_key_and_what_is_allowed(changes, message):
  with pytest.raises(UserError, match=message):
    resolve.resolve(make(**changes))


def test_recipes_of_the_comparators():
  recipe = {
    "method": "joint",
    "loss__base": ("ce",),
    "data__sampler": "shuffle",
  }
  for more in (
    {"optim__nesterov": True},
    {"optim__optimizer": "amsgrad", "optim__schedule": "cosine"},
    {"optim__optimizer": "amsgrad", "optim__momentum": 0.0},
    {"optim__classifier_only_epochs": 10.0, "optim__classifier_factor": 10.0},
  ):
    resolve.resolve(make(**recipe, **more))


def test_evaluation_at_its_limits():
  changes = {
    "eval__fprs": (),
    "eval__rerank_lambda": 0.0,
    "eval__query_expansion": 1,
  }
  assert resolve.resolve(make(**changes)).eval.fprs == ()
  changes = {"eval__rerank_lambda": 1.0, "eval__metric": "euclidean"}
  assert resolve.resolve(make(**changes)).eval.rerank_lambda == 1


def test_baselines_need_no_rho():
  config = resolve.resolve(make(method="joint", model__norm="bn"))
  assert config.model.norm == "bn"
