"""Turns a configuration with blanks into one that says everything."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import config_dict

from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.evaluation.average_precision import AP_CONVENTIONS
from metabin_jax.methods import bnta, objectives, optim
from metabin_jax.models import registry, reid
from metabin_jax.ops import cross_view, joint_embedding, part_losses
from metabin_jax.runtime import parallel, plugins, section_checks

# Methods that split the domains into meta-train and meta-test.
META_METHODS = ("metabin", "mldg")
_CHOICES = {
  "method": ("metabin", "joint", "mldg", "mar"),
  "preset": tuple(default_config.PRESETS),
  "model.last_stride": (1, 2),
  # "stripes" has no weights to train, and is for adaptation.
  "model.heads": ("none", "bnta"),
  "model.neck": reid.NECKS,
  "model.dtype": ("float32", "bfloat16"),
  "data.sampler": ("identity", "balanced", "shuffle"),
  "data.loader": ("array", "tf"),
  "data.cache": ("memory", "disk", "none"),
  "loss.smoothing_spread": ("others", "all"),
  "loss.part_reduction": part_losses.REDUCTIONS,
  "optim.optimizer": optim.OPTIMIZERS,
  "optim.schedule": optim.SCHEDULES,
  "meta.second_order_by": ("reverse", "forward"),
  "mar.joint_form": joint_embedding.FORMS,
  "mar.view_reduction": cross_view.REDUCTIONS,
  "parallel.runner": parallel.RUNNERS,
  "parallel.batch_moments": parallel.MOMENTS,
  "eval.metric": ("cosine", "euclidean"),
  "eval.ap": AP_CONVENTIONS,
  "eval.adapt_bn": ("none", "gallery", "all"),
  "eval.adapt": ("none", "bnta"),
  "eval.bnta.images_of": ("gallery", "all"),
  "eval.bnta.reduction": part_losses.REDUCTIONS,
  "eval.bnta.position_parts": bnta.POSITION_PARTS,
  "eval.bnta.statistics": bnta.STATISTICS,
  "eval.bnta.forward": bnta.FORWARD,
  "eval.bnta.optimizer": bnta.OPTIMIZERS,
  "eval.place": ("auto", "host", "device"),
}
_POSITIVE = (
  "model.width",
  "model.parts",
  "data.height_px",
  "data.width_px",
  "data.batch_size",
  "data.instances",
  "data.prefetch",
  "optim.lr",
  "optim.rho_lr",
  "meta.num_mtrain",
  "meta.first_base_updates",
  "meta.beta_period_epochs",
  "mar.batch_size",
  "mar.scale",
  "mar.margin",
  "train.epochs",
  "train.log_every_steps",
  "train.keep_checkpoints",
  "eval.batch_size",
  "eval.bnta.pairs",
  "eval.bnta.batch_pairs",
  "eval.bnta.epochs",
  "eval.bnta.lr",
  "eval.rerank_k1",
  "eval.rerank_k2",
)
_NOT_NEGATIVE = (
  "data.workers",
  "data.pad_px",
  "loss.margin",
  "optim.bias_factor",
  "optim.classifier_factor",
  "optim.classifier_only_epochs",
  "optim.weight_decay",
  "optim.warmup_epochs",
  "optim.warmup_factor",
  "optim.decay",
  "meta.beta_low",
  "mar.ratio",
  "mar.view_weight",
  "mar.source_weight",
  "mar.joint_weight",
  "mar.first_mining_epochs",
  "train.seed",
  "train.steps_per_epoch",
  "train.steps",
  "train.checkpoint_every_steps",
  "eval.bnta.images",
  "eval.bnta.seed",
  "eval.bnta.match_weight",
  "eval.bnta.margin",
  "eval.bnta.momentum",
  "eval.query_expansion",
  "parallel.devices",
)
# In [0, 1).
_SHARES = (
  "loss.smoothing",
  "optim.momentum",
  "mar.label_momentum",
  "mar.threshold_momentum",
)
# Keys that stay None, and those that the preset fills in.
_OPTIONAL = ("meta.beta_fixed", "mar.center_momentum")
_MOST_SEED = 2**31 - 1


def resolve(config: config_dict.ConfigDict) -> config_dict.FrozenConfigDict:
  """Fills in the preset and checks every value.

  Args:
    config: from `default_config.get_config`, overridden or not.

  Returns:
    A frozen copy in which no key is left to the preset; the same from every
    configuration with these values.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  values = config.copy_and_resolve_references().to_dict()
  # A config file may set any name; only those with a default mean something.
  config = _fill(default_config.get_config(), values)
  _check_choice(config, "preset")
  for key, value in default_config.PRESETS[config.preset].items():
    section, name = key.split(".")
    if config[section][name] is None:
      config[section][name] = value
  for key, value in _leaves(config):
    if value is None and key not in _OPTIONAL:
      raise UserError(f"{key} has no value; give it one, or remove its line.")
    if isinstance(value, float) and not math.isfinite(value):
      raise UserError(f"{key} is {value}; it must be a finite number.")
  for key in _CHOICES:
    _check_choice(config, key)
  _check_model(config.model)
  _check_numbers(config)
  _check_tuples(config)
  section_checks.check_eval(config.eval)
  section_checks.check_recipe(config)
  section_checks.check_meta(config)
  section_checks.check_snr(config)
  section_checks.check_parts(config)
  section_checks.check_adaptation(config)
  section_checks.check_mar(config)
  section_checks.check_parallel(config.parallel)
  _check_rho(config)
  return config_dict.FrozenConfigDict(config)


def to_dict(config: config_dict.ConfigDict) -> dict[str, Any]:
  """The configuration as plain JSON data (tuples become lists)."""
  return json.loads(json.dumps(config.to_dict()))


def from_dict(data: Mapping[str, Any]) -> config_dict.ConfigDict:
  """The inverse of `to_dict`: defaults overridden by stored values.

  Args:
    data: what a run has stored.

  Returns:
    A configuration with lists as tuples again.

  Raises:
    UserError: for a key that this version does not know, or a value of another
      type than its default.
  """
  return _fill(default_config.get_config(), data)


def _fill(
  target: config_dict.ConfigDict, values: Mapping[str, Any], prefix: str = ""
) -> config_dict.ConfigDict:
  """Overrides `target` in place, and only keys that it has."""
  for name, value in values.items():
    key = prefix + name
    if name not in target:
      near = difflib.get_close_matches(name, target.keys(), 1)
      hint = f"did you mean {prefix}{near[0]}? " if near else ""
      raise UserError(
        f"unknown configuration key {key}; {hint}"
        "metabin_jax/default_config.py lists all keys."
      )
    is_section = isinstance(target[name], config_dict.ConfigDict)
    if is_section != isinstance(value, Mapping):
      mend = "set the keys below it" if is_section else "give it one value"
      raise UserError(f"{key} is {value!r}; {mend}.")
    if is_section:
      _fill(target[name], value, f"{key}.")
      continue
    try:
      target[name] = tuple(value) if isinstance(value, list) else value
    except TypeError:
      # Blank keys know their type, though they hold no value to show it.
      kind = target.get_type(name).__name__
      raise UserError(
        f"{key} is {value!r}; give it a value of type {kind}."
      ) from None
  return target


def _leaves(config, prefix="") -> Iterator[tuple[str, Any]]:
  for name, value in config.items():
    if isinstance(value, config_dict.ConfigDict):
      yield from _leaves(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _check_numbers(config):
  for key in _POSITIVE:
    if _get(config, key) <= 0:
      raise UserError(f"{key} is {_get(config, key)}; it must be above 0.")
  for key in (*_NOT_NEGATIVE, *(f"loss.weights.{n}" for n in objectives.NAMES)):
    if _get(config, key) < 0:
      raise UserError(f"{key} is {_get(config, key)}; it must be at least 0.")
  for key in _SHARES:
    if not 0 <= _get(config, key) < 1:
      raise UserError(
        f"{key} is {_get(config, key)}; it must be at least 0 and below 1."
      )
  if config.train.seed > _MOST_SEED:
    raise UserError(
      f"train.seed is {config.train.seed}; it must be at most {_MOST_SEED}."
    )
  if config.meta.beta_high < config.meta.beta_low:
    raise UserError(
      f"meta.beta_high is {config.meta.beta_high}; it must be at least "
      f"meta.beta_low, which is {config.meta.beta_low}."
    )
  fixed = config.meta.beta_fixed
  if fixed is not None and fixed < 0:
    raise UserError(
      f"meta.beta_fixed is {fixed}; it must be at least 0, or None for the "
      "cycle."
    )


def _check_tuples(config):
  for phase in ("base", "mtrain", "mtest"):
    names = config.loss[phase]
    if not names or not set(names) <= set(objectives.NAMES):
      raise UserError(
        f"loss.{phase} is {tuple(names)}; name at least one of "
        f"{', '.join(objectives.NAMES)}. On the command line quote the tuple: "
        f"\"--config.loss.{phase}=('ce','triplet')\"."
      )
  for key in ("sources", "unlabelled", "targets"):
    if not all(isinstance(spec, str) for spec in config.data[key]):
      raise UserError(
        f"data.{key} is {config.data[key]}; write descriptions: "
        f"\"--config.data.{key}=('manifest:a.csv','market:DIR')\"."
      )
  epochs = config.optim.milestones_epochs
  if any(not section_checks.is_number(e) or e <= 0 for e in epochs) or list(
    epochs
  ) != sorted(set(epochs)):
    raise UserError(
      f"optim.milestones_epochs is {epochs}; write rising numbers above 0."
    )


def _check_model(section):
  """Names that the registry knows, once the user's files have added theirs."""
  if not all(isinstance(name, str) for name in section.plugins):
    raise UserError(
      f"model.plugins is {section.plugins}; write file names: "
      "\"--config.model.plugins=('my_norm.py',)\"."
    )
  plugins.load(section.plugins)
  for key, known in (
    ("backbone", registry.backbones()),
    ("norm", registry.norms()),
  ):
    if section[key] not in known:
      raise UserError(
        f"model.{key} is {section[key]!r}; choose one of {', '.join(known)}, "
        "or name the file that registers it in model.plugins."
      )


def _check_rho(config):
  balanced = config.model.norm in registry.balanced_norms()
  if (config.method == "metabin" or config.optim.joint_rho) and not balanced:
    norms = " or ".join(map(repr, registry.balanced_norms()))
    raise UserError(
      f"model.norm {config.model.norm!r} has no rho to learn; use {norms}, or "
      "method 'joint' or 'mldg' with optim.joint_rho=False."
    )
  if config.method == "metabin" and config.optim.joint_rho:
    raise UserError(
      "optim.joint_rho is for method 'joint' or 'mldg': MetaBIN's base step "
      "keeps rho constant; set one of the two back."
    )


def _get(config, key):
  for part in key.split("."):
    config = config[part]
  return config


def _check_choice(config, key):
  value = _get(config, key)
  if value not in _CHOICES[key]:
    raise UserError(
      f"{key} is {value!r}; choose one of {', '.join(map(str, _CHOICES[key]))}."
    )
