"""Checks of values that belong together, section by section."""

from __future__ import annotations

import math
from typing import Any

from metabin_jax.errors import UserError
from metabin_jax.methods import bnta, objectives

# Losses that compare images of a batch: no use if each shows somebody else.
_ON_PAIRS = ("triplet", "shuffle", "scatter", "snr")


def check_recipe(config: Any) -> None:
  """Checks that optimizer, sampler and losses go with the method.

  Args:
    config: a configuration without blanks, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  recipe = config.optim
  if recipe.nesterov and (recipe.optimizer != "sgd" or recipe.momentum == 0):
    raise UserError(
      f"optim.nesterov is for optim.optimizer 'sgd' with optim.momentum above "
      f"0; these are {recipe.optimizer!r} and {recipe.momentum:g}: set it to "
      "False, or change them."
    )
  if recipe.classifier_only_epochs and config.method != "joint":
    raise UserError(
      f"optim.classifier_only_epochs is {recipe.classifier_only_epochs:g}, and "
      f"it is for method 'joint'; set it to 0 for method {config.method!r}."
    )
  if config.data.sampler != "shuffle":
    return
  if config.method == "mar":
    return
  if config.method != "joint":
    raise UserError(
      "data.sampler 'shuffle' is for methods 'joint' and 'mar'; use 'identity' "
      f"or 'balanced' for method {config.method!r}."
    )
  pairs = [name for name in config.loss.base if name in _ON_PAIRS]
  if pairs:
    raise UserError(
      f"loss.base has {', '.join(pairs)}, which compares images of a person or "
      "domain, and data.sampler 'shuffle' does not see to it that a batch has "
      "them; use \"--config.loss.base=('ce',)\", or another sampler."
    )


def check_meta(config: Any) -> None:
  """Checks that the options of the meta step go with the method.

  Args:
    config: a configuration without blanks, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  meta = config.meta
  if config.method == "mldg":
    if meta.second_order_by != "reverse":
      raise UserError(
        f"meta.second_order_by is {meta.second_order_by!r}, and method 'mldg' "
        "knows 'reverse' only; set it to that."
      )
    return
  for key in ("combined", "base_step"):
    if not meta[key]:
      raise UserError(
        f"meta.{key} is False, and that is for method 'mldg'; set it to True "
        f"for method {config.method!r}."
      )


def check_snr(config: Any) -> None:
  """Checks that the loss "snr" has its layers, and a step that collects them.

  Args:
    config: a configuration without blanks, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  phases = [p for p in ("base", "mtrain", "mtest") if "snr" in config.loss[p]]
  if not phases:
    return
  if config.model.norm != "snr":
    raise UserError(
      f"loss.{phases[0]} has 'snr', the loss of the layers of model.norm "
      f"'snr', and model.norm is {config.model.norm!r}; change it, or leave "
      "the loss out."
    )
  if phases != ["base"]:
    raise UserError(
      f"loss.{phases[-1]} has 'snr', which only the base step computes; name "
      "it in loss.base alone."
    )
  if config.optim.classifier_only_epochs:
    raise UserError(
      "loss.base has 'snr', which the epochs of the classifier alone do not "
      "compute: set optim.classifier_only_epochs to 0, or leave the loss out."
    )


def check_parts(config: Any) -> None:
  """Checks that losses of the parts of a body have their heads.

  Args:
    config: a configuration without blanks, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  for phase in ("base", "mtrain", "mtest"):
    of_parts = [n for n in config.loss[phase] if n in objectives.OF_PARTS]
    if of_parts and config.model.heads != "bnta":
      raise UserError(
        f"loss.{phase} has {of_parts[0]!r}, a loss of the heads that "
        f"model.heads 'bnta' adds, and model.heads is {config.model.heads!r}; "
        "change it, or leave the loss out."
      )


def check_parallel(section: Any) -> None:
  """Checks the section `parallel`.

  Args:
    section: the section, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  if section.runner == "jit" and section.batch_moments == "device":
    raise UserError(
      "parallel.batch_moments is 'device', and the runner 'jit' sees whole "
      "batches only; set parallel.runner to 'shard_map', or the moments to "
      "'global'."
    )


def check_eval(section: Any) -> None:
  """Checks the section `eval`.

  Args:
    section: the section, each value of its type.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  ranks = section.ranks
  if not ranks or any(type(k) is not int or k < 1 for k in ranks):
    raise UserError(
      f"eval.ranks is {ranks}; write whole numbers from 1, such as (1, 5, 10)."
    )
  rates = section.fprs
  if any(not is_number(rate) or not 0 < rate < 1 for rate in rates) or (
    len(set(rates)) < len(rates)
  ):
    raise UserError(
      f"eval.fprs is {rates}; write different shares between 0 and 1, such as "
      "(1e-4, 1e-3, 1e-2), or () for none."
    )
  if not 0 <= section.rerank_lambda <= 1:
    raise UserError(
      f"eval.rerank_lambda is {section.rerank_lambda}; it is the share of the "
      "original distance, from 0 to 1."
    )
  if section.query_expansion and section.metric != "cosine":
    raise UserError(
      f"eval.query_expansion is {section.query_expansion}, and it averages "
      "directions: set eval.metric to 'cosine', or eval.query_expansion to 0."
    )


def check_adaptation(config: Any) -> None:
  """Checks `eval.adapt` and what belongs to it.

  Args:
    config: a configuration without blanks, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  section = config.eval.bnta
  for key, known in (
    ("groups", bnta.GROUPS),
    ("bn_arrays", bnta.BN_ARRAYS),
    ("losses", bnta.LOSSES),
  ):
    if not set(section[key]) <= set(known):
      raise UserError(
        f"eval.bnta.{key} is {tuple(section[key])}; name some of "
        f"{', '.join(known)}."
      )
  if not section.losses:
    raise UserError(
      f"eval.bnta.losses is (); name at least one of {', '.join(bnta.LOSSES)}."
    )
  if section.momentum > 1:
    raise UserError(
      f"eval.bnta.momentum is {section.momentum}; it is a share, from 0 to 1."
    )
  if config.eval.adapt == "none":
    return
  if config.eval.adapt_bn != "none":
    raise UserError(
      f"eval.adapt is {config.eval.adapt!r} and eval.adapt_bn "
      f"{config.eval.adapt_bn!r}; adapt by one of them, and set the other to "
      "'none'."
    )
  if "position" in section.losses and config.model.heads != "bnta":
    raise UserError(
      "eval.bnta.losses has 'position', and this network was trained without "
      "part heads (model.heads is 'none'): adapt it by the loss 'match' alone "
      "(--bnta losses=match), or train with --config.model.heads=bnta."
    )
  _check_trained_heads(config)


def _check_trained_heads(config):
  trained = {
    name for phase in ("base", "mtrain", "mtest") for name in config.loss[phase]
  }
  untrained = [n for n in config.eval.bnta.losses if n not in trained]
  if config.model.heads == "bnta" and untrained:
    raise UserError(
      f"eval.bnta.losses has {untrained[0]!r}, and this network's head for it "
      "was not trained: no loss of its training has it. Adapt by another one "
      "(--bnta losses=...), or train with it in loss.base."
    )


def check_mar(config: Any) -> None:
  """Checks what belongs to method "mar", and that no other has it.

  Args:
    config: a configuration without blanks, each value one that exists.

  Raises:
    UserError: names the key, its value and what is allowed.
  """
  section = config.mar
  if section.ratio > 1:
    raise UserError(
      f"mar.ratio is {section.ratio}; it is a share of pairs, from 0 to 1."
    )
  momentum = section.center_momentum
  if momentum is not None and not 0 <= momentum <= 1:
    raise UserError(
      f"mar.center_momentum is {momentum}; it is a share, from 0 to 1, or None."
    )
  if section.batch_size < 2:
    raise UserError(
      f"mar.batch_size is {section.batch_size}; mining needs at least 2 images."
    )
  if config.method != "mar":
    if config.data.unlabelled:
      raise UserError(
        "data.unlabelled is for method 'mar', and method is "
        f"{config.method!r}; empty it, or change the method."
      )
    return
  if config.model.neck != "none":
    raise UserError(
      f"model.neck is {config.model.neck!r}, and method 'mar' compares what "
      "the network pools; set it to 'none'."
    )
  if tuple(config.loss.base) != ("ce",):
    raise UserError(
      f"loss.base is {tuple(config.loss.base)}, and method 'mar' has losses of "
      "its own; set it to ('ce',)."
    )
  if config.model.heads != "none":
    raise UserError(
      f"model.heads is {config.model.heads!r}, and method 'mar' does not train "
      "them; set it to 'none'."
    )
  if config.optim.joint_rho:
    raise UserError(
      "optim.joint_rho is True, and method 'mar' leaves rho as it is; set it "
      "to False."
    )


def is_number(value: Any) -> bool:
  """Whether a value is a finite number (or a truth value, which counts)."""
  return isinstance(value, int | float) and math.isfinite(value)
