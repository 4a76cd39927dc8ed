"""Schedules and optimizers of the published recipes.

Schedules are functions of the iteration, not of the number of optimizer
updates: the ten base updates of the first iteration share one learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from metabin_jax.methods import adam

PyTree = Any
FROZEN = ("neck", "bn_bias")
CLASSIFIER = "classifier"
# Affine parameters of norm layers, the neck's included.
AFFINE = ("bn_scale", "bn_bias", "in_scale", "in_bias", "scale", "bias")
OPTIMIZERS = ("sgd", "adam", "amsgrad")
SCHEDULES = ("multistep", "cosine")


def warmup_multistep(
  peak: float,
  *,
  warmup_steps: int,
  warmup_factor: float,
  milestones_steps: Sequence[int],
  decay: float = 0.1,
) -> optax.Schedule:
  """Linear warm-up times a staircase.

  Args:
    peak: learning rate after warm-up.
    warmup_steps: iterations from `warmup_factor * peak` to `peak`; 0 for none.
    warmup_factor: fraction of `peak` at iteration 0.
    milestones_steps: iterations from which the rate is multiplied by `decay`.
    decay: the factor.

  Returns:
    Schedule: iteration -> learning rate.

  Source: reference solver/lr_scheduler.py, `WarmupMultiStepLR`.
  """
  stairs = optax.piecewise_constant_schedule(
    peak, {int(step): decay for step in milestones_steps}
  )
  return _with_warmup(stairs, warmup_steps, warmup_factor)


def warmup_cosine(
  peak: float, *, warmup_steps: int, warmup_factor: float, total_steps: int
) -> optax.Schedule:
  """Linear warm-up times half a cosine wave: peak (1 + cos(pi i / n)) / 2.

  Args:
    peak: value of the wave at iteration 0.
    warmup_steps: iterations in which a factor rises from `warmup_factor` to 1;
      0 for none.
    warmup_factor: that factor at iteration 0.
    total_steps: n, the iteration from which the rate is 0.

  Returns:
    Schedule: iteration -> learning rate.

  Source: torch `CosineAnnealingLR`, OSNet-AIN's schedule.
  Differs: torchreid steps it once an epoch; this one moves every iteration.
  """
  wave = optax.cosine_decay_schedule(peak, total_steps)
  return _with_warmup(wave, warmup_steps, warmup_factor)


def _with_warmup(schedule, warmup_steps, warmup_factor):
  if warmup_steps <= 0:
    return schedule
  rise = optax.linear_schedule(warmup_factor, 1.0, warmup_steps)
  return lambda step: rise(step) * schedule(step)


def triangular_cycle(
  low: float, high: float, period_steps: int
) -> optax.Schedule:
  """Linear from low to high and back, over and over.

  Args:
    low: value at step 0 and at every multiple of the period.
    high: value after floor(period_steps / 2) steps.
    period_steps: at least 2.

  Returns:
    Schedule: step -> value.

  Raises:
    ValueError: for a period below 2.

  Source: MetaBIN, cyclic inner-updating; equals torch `CyclicLR` (triangular)
    with step_size_up = floor(period / 2).
  """
  if period_steps < 2:
    raise ValueError(f"period_steps is {period_steps}, want at least 2.")
  up = period_steps // 2

  def schedule(count):
    phase = jnp.mod(count, period_steps)
    rise = phase / up
    fall = (period_steps - phase) / (period_steps - up)
    return low + (high - low) * jnp.where(phase <= up, rise, fall)

  return schedule


def make_beta_schedule(
  *,
  low: float,
  high: float,
  period_steps: int,
  fixed: float | None = None,
  scale: float = 1.0,
) -> optax.Schedule:
  """The inner step size beta of iteration i.

  Args:
    low: smallest value of the cycle.
    high: largest value of the cycle.
    period_steps: iterations of one cycle.
    fixed: a constant in place of the cycle.
    scale: factor on the result: 1 in the paper; the learning rate of rho in
      the released code, which makes beta ten times smaller.

  Returns:
    Schedule: iteration -> beta. The cycle is advanced before its first use, as
    the reference does, so iteration 0 sees its second value.
  """
  if fixed is not None:
    return optax.constant_schedule(scale * fixed)
  cycle = triangular_cycle(low, high, period_steps)
  return lambda step: scale * cycle(step + 1)


def make_params_tx(
  *,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  optimizer: str = "sgd",
  nesterov: bool = False,
  decay_norms: bool = True,
) -> optax.GradientTransformation:
  """An optimizer as PyTorch writes it, without the learning rate.

  Weight decay joins the gradient before anything else, and the learning rate
  multiplies what leaves the transform; `apply_params` does the latter.

  Args:
    momentum: of "sgd", in [0, 1).
    weight_decay: applied to every parameter; rho is not among them.
    optimizer: "sgd", or "adam" or "amsgrad" with betas 0.9 and 0.999, epsilon
      1e-8.
    nesterov: "sgd" looks ahead: gradient + momentum x buffer leaves it.
    decay_norms: whether weight decay is applied to norm layers too.

  Returns:
    An optax transform.

  Raises:
    ValueError: for another optimizer, or Nesterov's momentum without "sgd" or
      without momentum.
  """
  if optimizer not in OPTIMIZERS:
    raise ValueError(f"optimizer is {optimizer!r}, want one of {OPTIMIZERS}.")
  if nesterov and (optimizer != "sgd" or momentum == 0):
    raise ValueError("nesterov is for optimizer 'sgd' with momentum above 0.")
  scale = (
    optax.trace(momentum, nesterov)
    if optimizer == "sgd"
    else adam.scale_by_adam(amsgrad=optimizer == "amsgrad")
  )
  mask = None if decay_norms else _not_of_norms
  return optax.chain(optax.add_decayed_weights(weight_decay, mask), scale)


def rate_factors(
  params: PyTree, bias_factor: float = 2.0, classifier_factor: float = 1.0
) -> PyTree:
  """Learning-rate factor of every parameter.

  Args:
    params: the parameter tree.
    bias_factor: factor of biases (reference: 2).
    classifier_factor: further factor of the classifier.

  Returns:
    The same tree of floats: `bias_factor` where the name ends in "bias", 0 for
    the frozen bias of the BNNeck, 1 elsewhere; times `classifier_factor` for
    the classifier.
  """

  def factor(path, _):
    names = tuple(entry.key for entry in path)
    if names == FROZEN:
      return 0.0
    own = bias_factor if names[-1].endswith("bias") else 1.0
    return own * classifier_factor if names[0] == CLASSIFIER else own

  return jax.tree_util.tree_map_with_path(factor, params)


def apply_params(
  tx: optax.GradientTransformation,
  grads: PyTree,
  opt_state: optax.OptState,
  params: PyTree,
  rate: jax.Array,
  bias_factor: float = 2.0,
  classifier_factor: float = 1.0,
) -> tuple[PyTree, optax.OptState]:
  """One update of the base parameters.

  Args:
    tx: from `make_params_tx`.
    grads: gradient tree.
    opt_state: its state.
    params: parameters.
    rate: learning rate of this iteration.
    bias_factor: factor of biases.
    classifier_factor: further factor of the classifier.

  Returns:
    Parameters and optimizer state afterwards; frozen parameters bit-identical.
  """
  updates, opt_state = tx.update(grads, opt_state, params)
  factors = rate_factors(params, bias_factor, classifier_factor)

  def move(p, u, factor):
    if factor == 0:
      return p
    return p - jnp.asarray(rate * factor, p.dtype) * u

  return jax.tree.map(move, params, updates, factors), opt_state


def _not_of_norms(params: PyTree) -> PyTree:
  """Which parameters are no affine ones of a norm layer."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key not in AFFINE, params
  )


def project(balance: PyTree) -> PyTree:
  """Rho clipped to [0, 1], after every step of its optimizer."""
  return jax.tree.map(lambda rho: jnp.clip(rho, 0.0, 1.0), balance)
