"""Puts an experiment together: data plan, network, state and steps."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metabin_jax import models
from metabin_jax.data import augment, batches, sampling, shuffling
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError
from metabin_jax.methods import (
  classifier_only,
  joint,
  mar,
  metabin,
  mldg,
  objectives,
  optim,
)
from metabin_jax.methods.state import TrainState, create_state
from metabin_jax.runtime import distributed, parallel, resolve

# Names of the compiled programs.
BASE_STEP, TRAIN_STEP = "base_step", "train_step"


class Horizon(NamedTuple):
  """Lengths of a run, in iterations."""

  epoch_steps: int
  total_steps: int
  checkpoint_steps: int


class Experiment(NamedTuple):
  """What the train loop needs.

  `base_step(state, batch)` makes one base update; `train_step(state,
  iteration)` makes the last base update of an iteration and the meta update,
  if there are such, and counts. Both are compiled and consume their state; they
  take their batches from `runner.split`.
  """

  network: models.ReIDNetwork
  plan: batches.BatchPlan
  horizon: Horizon
  runner: parallel.Runner
  state: TrainState
  base_step: Callable[[TrainState, Any], tuple[TrainState, dict]]
  train_step: Callable[[TrainState, Any], tuple[TrainState, dict]]


def create_network(config: Any, num_classes: int) -> models.ReIDNetwork:
  """The network that a resolved configuration describes."""
  return models.create(
    config.model.backbone,
    norm=config.model.norm,
    num_classes=num_classes,
    width=config.model.width,
    last_stride=config.model.last_stride,
    dtype=jnp.dtype(config.model.dtype).type,
    remat=config.model.remat,
    heads=config.model.heads,
    parts=config.model.parts,
    neck=config.model.neck,
    last_relu=config.model.last_relu,
  )


def create_experiment(
  config: Any,
  records: Sequence[Record],
  initialize: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
  unlabelled: Sequence[Record] = (),
) -> Experiment:
  """Builds everything from a resolved configuration and training images.

  Args:
    config: from `resolve.resolve`.
    records: training images of all sources.
    initialize: turns the random initial variables into those to start from.
    unlabelled: training images of method "mar" without labels.

  Returns:
    The experiment at step 0; what method "mar" remembers is still empty, see
    runtime/site_memory.py.

  Raises:
    UserError: if the batch does not fit the data, or the network is too narrow.
  """
  runner = parallel.from_config(config.parallel)
  plan = create_plan(config, records, unlabelled)
  runner.check_rows(count_rows(plan))
  pool = plan.pool
  epoch_steps = config.train.steps_per_epoch or _count_epoch(config, pool)
  horizon = Horizon(
    epoch_steps,
    config.train.steps or max(1, round(config.train.epochs * epoch_steps)),
    config.train.checkpoint_every_steps or epoch_steps,
  )
  network = create_network(config, len(pool.pids))
  try:
    variables = models.init_variables(
      network,
      jax.random.key(config.train.seed),
      config.data.height_px,
      config.data.width_px,
    )
  except ValueError as error:  # a width or image size that the layers refuse
    raise UserError(
      f"{config.model.backbone} of model.width {config.model.width} cannot be "
      f"built for {config.data.height_px}x{config.data.width_px} pixels: "
      f"{error}"
    ) from error
  if initialize is not None:
    variables = initialize(variables)
  tx_params = optim.make_params_tx(
    momentum=config.optim.momentum,
    weight_decay=config.optim.weight_decay,
    optimizer=config.optim.optimizer,
    nesterov=config.optim.nesterov,
    decay_norms=config.optim.decay_norms,
  )
  rate = _make_rate(config, epoch_steps)
  tx_balance = optax.sgd(config.optim.rho_lr)
  base_step = joint.make_base_step(
    network,
    create_objective(config, config.loss.base),
    tx_params,
    rate,
    tx_balance=tx_balance if config.optim.joint_rho else None,
    **_rate_factors(config),
  )
  alone = round(config.optim.classifier_only_epochs * epoch_steps)
  if alone:
    base_step = classifier_only.make_staged_step(
      classifier_only.make_classifier_step(
        network,
        create_objective(config, config.loss.base),
        tx_params,
        rate,
        **_rate_factors(config),
      ),
      base_step,
      alone,
    )
  state = create_state(variables, tx_params, tx_balance)
  if plan.unlabelled is not None:
    state = state.replace(
      memory=mar.empty_memory(len(plan.unlabelled.view), len(pool.pids))
    )
  return Experiment(
    network=network,
    plan=plan,
    horizon=horizon,
    runner=runner,
    state=runner.place(state),
    base_step=runner.compile(base_step, BASE_STEP),
    train_step=_make_train_step(
      config,
      network,
      base_step,
      tx_params,
      rate,
      tx_balance,
      epoch_steps,
      runner,
      plan,
    ),
  )


def create_objective(config: Any, names: Sequence[str]) -> objectives.Objective:
  """The weighted sum of losses that a resolved configuration describes.

  Args:
    config: from `resolve.resolve`.
    names: of the losses, e.g. `config.loss.base`.
  """
  return objectives.make_objective(
    names,
    weights=dict(config.loss.weights),
    margin=config.loss.margin,
    smoothing=config.loss.smoothing,
    smoothing_spread=config.loss.smoothing_spread,
    scatter_normalize=config.loss.scatter_normalize,
    part_reduction=config.loss.part_reduction,
  )


def create_plan(
  config: Any, records: Sequence[Record], unlabelled: Sequence[Record] = ()
) -> batches.BatchPlan:
  """Which images make up which batch; baselines get the same base batches."""
  # Without a base step the one base batch of an iteration is left unused.
  first_base_updates = (
    config.meta.first_base_updates
    if config.meta.base_step and config.method != "mar"
    else 1
  )
  return batches.make_batch_plan(
    records,
    batch_size=config.data.batch_size,
    instances=config.data.instances,
    seed=config.train.seed,
    num_mtrain=(
      config.meta.num_mtrain if config.method in resolve.META_METHODS else None
    ),
    height=config.data.height_px,
    width=config.data.width_px,
    augmentation=augment.AugmentConfig(
      flip_prob=config.data.flip_prob,
      pad_px=config.data.pad_px,
      jitter=config.data.jitter,
      erasing_prob=config.data.erasing_prob,
    ),
    first_base_updates=first_base_updates,
    balanced=config.data.sampler == "balanced",
    shuffled=config.data.sampler == "shuffle",
    part=distributed.part(),
    unlabelled=unlabelled,
    unlabelled_size=config.mar.batch_size,
  )


def count_rows(plan: batches.BatchPlan) -> list[tuple[int, str]]:
  """Images of each kind of batch, with its name."""
  rows = []
  for draw in plan.draws(1):
    if draw.stream == "base":
      rows.append((len(draw.rows), "the base batch"))
    elif draw.stream == "unlabelled":
      rows.append((len(draw.rows), "the batch without labels"))
    else:
      rows.append((draw.num_mtrain, "the meta-train batch"))
      rows.append((len(draw.rows) - draw.num_mtrain, "the meta-test batch"))
  return rows


def fingerprint(records: Sequence[Record], *, names: bool = False) -> str:
  """SHA-256 over the labels of the training images, in order, folders apart.

  Two runs with one fingerprint number persons and images alike.

  Args:
    records: the images.
    names: also over the names of their files.
  """
  labels: list[tuple] = [(r.pid, r.camid, r.domain) for r in records]
  if names:
    labels += [(pathlib.PurePath(record.path).name,) for record in records]
  return hashlib.sha256(json.dumps(labels).encode()).hexdigest()


def _count_epoch(config, pool):
  """Iterations that go through the images once."""
  size = config.data.batch_size
  if config.data.sampler == "shuffle":
    return shuffling.epoch_length(pool, size)
  return sampling.epoch_length(pool, size, config.data.instances)


def _rate_factors(config):
  """Factors of the learning rate, as every step takes them."""
  return {
    "bias_factor": config.optim.bias_factor,
    "classifier_factor": config.optim.classifier_factor,
  }


def _make_rate(config, epoch_steps):
  """The learning rate by iteration."""
  warmup = {
    "warmup_steps": round(config.optim.warmup_epochs * epoch_steps),
    "warmup_factor": config.optim.warmup_factor,
  }
  if config.optim.schedule == "cosine":
    total_steps = max(1, round(config.train.epochs * epoch_steps))
    return optim.warmup_cosine(
      config.optim.lr, **warmup, total_steps=total_steps
    )
  return optim.warmup_multistep(
    config.optim.lr,
    **warmup,
    milestones_steps=[
      round(epoch * epoch_steps) for epoch in config.optim.milestones_epochs
    ],
    decay=config.optim.decay,
  )


def create_mar_rules(config: Any) -> mar.Rules:
  """The numbers of method "mar" in a resolved configuration."""
  section = config.mar
  momentum = section.center_momentum
  if momentum is None:
    momentum = (config.data.batch_size + section.batch_size) / 10_000
  return mar.Rules(
    **{name: section[name] for name in mar.Rules._fields if name in section}
    | {"center_momentum": momentum}
  )


def _make_train_step(
  config,
  network,
  base_step,
  tx_params,
  rate,
  tx_balance,
  epoch_steps,
  runner,
  plan,
):
  if config.method == "mar":
    step = runner.compile(
      mar.make_train_step(
        network,
        tx_params,
        rate,
        create_mar_rules(config),
        num_views=plan.unlabelled.num_views,
        first_mining_step=round(config.mar.first_mining_epochs * epoch_steps),
        **_rate_factors(config),
      ),
      TRAIN_STEP,
    )
    return lambda state, iteration: step(
      state, iteration.base[-1], iteration.unlabelled
    )
  if config.method == "joint":
    joint_step = runner.compile(joint.make_train_step(base_step), TRAIN_STEP)
    return lambda state, iteration: joint_step(state, iteration.base[-1])
  if config.method == "mldg":
    meta_step = _make_mldg_step(
      config, network, tx_params, rate, tx_balance, epoch_steps
    )
  else:
    meta_step = _make_metabin_step(config, network, tx_balance, epoch_steps)
  if not config.meta.base_step:
    alone = runner.compile(mldg.make_train_step(meta_step), TRAIN_STEP)
    return lambda state, iteration: alone(
      state, iteration.mtrain, iteration.mtest
    )
  step = runner.compile(
    metabin.make_train_step(base_step, meta_step), TRAIN_STEP
  )
  return lambda state, iteration: step(
    state, iteration.base[-1], iteration.mtrain, iteration.mtest
  )


def _make_metabin_step(config, network, tx_balance, epoch_steps):
  scale = config.optim.rho_lr if config.meta.beta_times_rho_lr else 1.0
  return metabin.make_meta_step(
    network,
    create_objective(config, config.loss.mtrain),
    create_objective(config, config.loss.mtest),
    tx_balance,
    _make_cycle(config, epoch_steps, scale),
    second_order=config.meta.second_order,
    second_order_by=config.meta.second_order_by,
  )


def _make_mldg_step(config, network, tx_params, rate, tx_balance, epoch_steps):
  return mldg.make_meta_step(
    network,
    create_objective(config, config.loss.mtrain),
    create_objective(config, config.loss.mtest),
    tx_params,
    rate,
    tx_balance,
    config.optim.rho_lr,
    _make_cycle(config, epoch_steps, 1.0),
    second_order=config.meta.second_order,
    combined=config.meta.combined,
    update_statistics=not config.meta.base_step,
    **_rate_factors(config),
  )


def _make_cycle(config, epoch_steps, scale):
  """The inner step size, or its ratio to the learning rate, by iteration."""
  return optim.make_beta_schedule(
    low=config.meta.beta_low,
    high=config.meta.beta_high,
    period_steps=max(2, round(config.meta.beta_period_epochs * epoch_steps)),
    fixed=config.meta.beta_fixed,
    scale=scale,
  )
