"""Turns a configuration with blanks into one that says everything."""

from __future__ import annotations

import difflib
import json
from typing import Any

from ml_collections import config_dict

from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.methods import objectives
from metabin_jax.models import layers

_CHOICES = {
  "method": ("metabin", "joint"),
  "preset": tuple(default_config.PRESETS),
  "model.norm": tuple(layers.NORMS),
  "model.dtype": ("float32", "bfloat16"),
  "data.sampler": ("identity", "balanced"),
  "data.loader": ("array", "tf"),
  "loss.smoothing_spread": ("others", "all"),
  "meta.second_order_by": ("reverse", "forward"),
  "eval.metric": ("cosine", "euclidean"),
}
_POSITIVE = (
  "model.width",
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
  "train.epochs",
  "train.log_every_steps",
  "train.keep_checkpoints",
  "eval.batch_size",
)
_NOT_NEGATIVE = (
  "data.workers",
  "data.pad_px",
  "loss.margin",
  "loss.smoothing",
  "optim.momentum",
  "optim.weight_decay",
  "optim.warmup_epochs",
  "train.steps_per_epoch",
  "train.steps",
  "train.checkpoint_every_steps",
)


def resolve(config: config_dict.ConfigDict) -> config_dict.FrozenConfigDict:
  """Fills in the preset and checks every value.

  Args:
    config: from `default_config.get_config`, overridden or not.

  Returns:
    A frozen copy in which no key is left to the preset.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  config = config.copy_and_resolve_references()
  _check_choice(config, "preset")
  with config.unlocked():
    for key, value in default_config.PRESETS[config.preset].items():
      section, name = key.split(".")
      if config[section][name] is None:
        config[section][name] = value
  for key in _CHOICES:
    _check_choice(config, key)
  for key in _POSITIVE:
    if _get(config, key) <= 0:
      raise UserError(f"{key} is {_get(config, key)}; it must be above 0.")
  for key in _NOT_NEGATIVE:
    if _get(config, key) < 0:
      raise UserError(f"{key} is {_get(config, key)}; it must be at least 0.")
  for phase in ("base", "mtrain", "mtest"):
    names = config.loss[phase]
    unknown = sorted(set(names) - set(objectives.NAMES))
    if unknown or not names:
      raise UserError(
        f"loss.{phase} is {tuple(names)}; name at least one of "
        f"{', '.join(objectives.NAMES)}. On the command line quote the tuple: "
        f"\"--config.loss.{phase}=('ce','triplet')\"."
      )
  for key in ("sources", "targets"):
    if isinstance(config.data[key], str):
      raise UserError(
        f"data.{key} is one string; write a tuple: "
        f"\"--config.data.{key}=('manifest:a.csv','market:DIR')\"."
      )
  balanced = config.model.norm in ("bin", "bin_shared")
  if (config.method == "metabin" or config.optim.joint_rho) and not balanced:
    raise UserError(
      f"model.norm {config.model.norm!r} has no rho to learn; use 'bin' or "
      "'bin_shared', or method 'joint' with optim.joint_rho=False."
    )
  if config.method == "metabin" and config.optim.joint_rho:
    raise UserError(
      "optim.joint_rho is for method 'joint': MetaBIN's base step keeps rho "
      "constant; set one of the two back."
    )
  return config_dict.FrozenConfigDict(config)


def to_dict(config: config_dict.ConfigDict) -> dict[str, Any]:
  """The configuration as plain JSON data (tuples become lists)."""
  return json.loads(json.dumps(config.to_dict()))


def from_dict(data: dict[str, Any]) -> config_dict.ConfigDict:
  """The inverse of `to_dict`: defaults overridden by stored values.

  Args:
    data: what a run has stored.

  Returns:
    An unlocked configuration with lists as tuples again.

  Raises:
    UserError: for a key that this version does not know.
  """
  config = default_config.get_config()

  def fill(target, values, prefix):
    for key, value in values.items():
      if key not in target:
        near = difflib.get_close_matches(key, target.keys(), 1)
        hint = f" Did you mean {prefix}{near[0]}?" if near else ""
        raise UserError(f"unknown configuration key {prefix}{key}.{hint}")
      if isinstance(value, dict):
        fill(target[key], value, f"{prefix}{key}.")
      else:
        target[key] = tuple(value) if isinstance(value, list) else value

  with config.unlocked():
    fill(config, data, "")
  return config


def _get(config, key):
  for part in key.split("."):
    config = config[part]
  return config


def _check_choice(config, key):
  value = _get(config, key)
  if value not in _CHOICES[key]:
    raise UserError(
      f"{key} is {value!r}; choose one of {', '.join(_CHOICES[key])}."
    )
