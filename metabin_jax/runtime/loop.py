"""The train loop: batches in, checkpoints and metrics out."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from metabin_jax.data.batches import Iteration
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError
from metabin_jax.methods.state import TrainState
from metabin_jax.runtime import (
  checkpoint,
  claim,
  distributed,
  experiment,
  finite,
  metric_writer,
  pace,
  pretrained,
  progress,
  resolve,
  run_folder,
  site_memory,
  stopping,
)


class Outcome(NamedTuple):
  """How a run ended.

  Attributes:
    step: completed iterations.
    total_steps: iterations that were asked for.
    stopped_by: number of the signal that ended it early, or None.
    network: the network.
    state: the state after `step` iterations.
  """

  step: int
  total_steps: int
  stopped_by: int | None
  network: Any
  state: TrainState


def train(
  config: Any,
  sources: list[DataSet],
  workdir: pathlib.Path,
  *,
  say: Callable[[str], None],
  unlabelled: Sequence[DataSet] = (),
) -> Outcome:
  """Trains, or continues, a run.

  Args:
    config: from `resolve.resolve`.
    sources: checked training data.
    workdir: folder of the run; a checkpoint in it is continued from.
    say: gets one line about each event worth reading.
    unlabelled: data that method "mar" learns from without labels.

  Returns:
    The outcome. A checkpoint of the last state exists in either case.

  Raises:
    UserError: if the folder holds another run, or an image cannot be read.
    NonFiniteError: names step and tensor; nothing non-finite is saved.
  """
  # From here on: interrupting JAX while it compiles ends in a crash.
  with stopping.StopRequest() as stop:
    return _train(config, sources, unlabelled, workdir, stop, say)


def _train(config, sources, unlabelled, workdir, stop, say) -> Outcome:
  records, further = (
    [record for dataset in datasets for record in dataset.train]
    for datasets in (sources, unlabelled)
  )
  store = checkpoint.CheckpointStore(
    workdir / run_folder.CHECKPOINTS,
    keep_last=config.train.keep_checkpoints,
    warn=say,
  )
  description = run_folder.describe(
    resolve.to_dict(config),
    len({record.pid for record in records}),
    experiment.fingerprint(records),
    sources,
    unlabelled,
  )
  if further:
    # Their labels may say nothing, and the memory has a row for each image.
    description["unlabelled_sha256"] = experiment.fingerprint(
      further, names=True
    )
  distributed.check_equal(
    {
      "their versions": description["versions"],
      "their plug-ins": description["plugins"],
      "their training labels": description["data_sha256"],
      "the names of their training images": [
        pathlib.PurePath(record.path).name for record in records + further
      ],
      **run_folder.flatten(description["config"]),
    },
    "start the same command on all.",
  )
  # Before anything is built: another network would not even fit the state.
  written = run_folder.load_description(workdir) if store.steps() else None
  if written is not None:
    run_folder.check_same_run(written, description, workdir)
  # A run that goes on has its weights, and may have lost the file.
  initialize = None
  if config.model.pretrained_classifier and not config.model.pretrained:
    raise UserError(
      "model.pretrained_classifier is True, and model.pretrained names no run "
      "to take it from; name one, or set the former to False."
    )
  if config.model.pretrained and not store.steps():
    initialize = _initializer(config, description, say)
  parts = experiment.create_experiment(config, records, initialize, further)
  with claim.claim(workdir):
    return _run(
      config,
      [*sources, *unlabelled],
      workdir,
      store,
      parts,
      description,
      stop,
      say,
    )


def _initializer(config, description, say):
  """What puts `model.pretrained` into new variables, and says so."""
  initial = pretrained.load(config.model.pretrained)
  classifier = config.model.pretrained_classifier
  if classifier and initial.labels_sha256 != description["data_sha256"]:
    raise UserError(
      f"model.pretrained_classifier asks for the classifier of "
      f"{config.model.pretrained}, which is no run that was trained on the "
      "persons and images of data.sources; name such a run, or set it to False."
    )
  distributed.check_equal(
    {"their initial weights": initial.sha256}, "give the same file to all."
  )

  def initialize(variables):
    variables, record = pretrained.start(
      variables, initial, config.model.norm, classifier=classifier
    )
    description["pretrained"] = record
    for line in pretrained.lines(record):
      say(line)
    return variables

  return initialize


def _run(
  config, datasets, workdir, store, parts, description, stop, say
) -> Outcome:
  """Continues what the folder holds, which is this run's alone."""
  if distributed.is_writer():
    store.tidy()
  distributed.wait("tidied")
  state, total = parts.state, parts.horizon.total_steps
  found = store.restore(state)
  distributed.check_equal(
    {
      "the checkpoints that they see": str(store.steps()),
      "the checkpoint that they can read": found and found.step,
    },
    "make sure that all of them can read the workdir.",
  )
  if found is not None:
    run_folder.check_same_run(found.metadata, description, workdir)
    description["pretrained"] = found.metadata.get("pretrained")
    state = parts.runner.place(found.state)
  start = int(state.step)
  if start >= total:
    say(f"nothing to train: {workdir} holds {start} of {total} iterations")
    return Outcome(start, total, None, parts.network, state)
  if found is not None:
    say(f"continuing at iteration {start} of {total}")
  used, there = len(parts.runner.devices), jax.device_count()
  if used < there:
    say(f"using {used} of {there} devices; parallel.devices=0 takes all")
  if distributed.is_writer():
    run_folder.save_description(workdir, description)

  # None if a signal came first: then nothing is read either.
  pixels = _prepare_pixels(config, datasets, stop, say)
  source = _create_source(config, parts.plan, pixels)
  vote = distributed.StopVote(parts.runner, stop)
  if vote.now():
    if found is None:
      _save(store, start, state, description)
    return Outcome(start, total, vote.signal_number, parts.network, state)
  # Also of a run that was stopped before: what it has saved is still empty.
  if start == 0 and config.data.unlabelled:
    say("looking at every image without a label once")
    state = state.replace(memory=_remember(config, parts, state, pixels))
  watch = _Watch()
  with contextlib.ExitStack() as stack:
    speaks = distributed.is_writer()
    writer = stack.enter_context(
      metric_writer.MetricWriter(workdir, start_step=start)
      if speaks
      else contextlib.nullcontext()
    )
    bar = stack.enter_context(
      progress.Progress(
        total, start=start, log_every=config.train.log_every_steps
      )
      if speaks
      else contextlib.nullcontext()
    )
    iterations = source.iterate(start, total)
    stack.callback(iterations.close)
    measured = stack.enter_context(
      pace.Pace((experiment.BASE_STEP, experiment.TRAIN_STEP))
    )
    for item in measured.fetch(iterations):
      base, mtrain, mtest, further = parts.runner.split(
        (item.base, item.mtrain, item.mtest, item.unlabelled)
      )
      for batch in base[:-1]:
        state, metrics = parts.base_step(state, batch)
        watch.see(item.step, metrics, state)
      state, metrics = parts.train_step(
        state, Iteration(item.step, base, mtrain, mtest, further)
      )
      watch.see(item.step, metrics, state)
      done = item.step + 1
      # Read once: a signal between saving and leaving must not skip the save.
      stopping_now = vote.wanted()
      shown = None
      if done % config.train.log_every_steps == 0 or done == total:
        shown = watch.flush(state)
        if writer is not None:
          writer.write(done, shown | rho_summary(state.balance))
      images = _count_images(item) * distributed.part().count
      measured.dispatched(images, metrics)
      if bar is not None:
        bar.update(done, images, shown)
      if (
        done % parts.horizon.checkpoint_steps == 0
        or done == total
        or stopping_now
      ):
        watch.flush(state)
        finite.check_state(done, state)
        _save(store, done, state, description)
      if stopping_now:
        break
  # A signal that came after the last vote.
  vote.now()
  report = measured.report()
  say(pace.describe(report))
  if speaks:
    run_folder.save_speed(workdir, report)
  return Outcome(
    int(state.step), total, vote.signal_number, parts.network, state
  )


def _save(store, step, state, description):
  """Saves, in one process, before any of them goes on."""
  if distributed.is_writer():
    store.save(step, state, description)
  distributed.wait(f"checkpoint {step}")


def rho_summary(balance: Any) -> dict[str, float]:
  """Mean and standard deviation of rho, over all channels and per layer.

  Args:
    balance: the tree of every rho; may be empty.

  Returns:
    {"rho/mean", "rho/std", "rho/<layer>/mean", "rho/<layer>/std"}.
  """
  leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(balance))
  if not leaves:
    return {}
  everything = np.concatenate([rho.ravel() for _, rho in leaves])
  summary = {
    "rho/mean": float(everything.mean()),
    "rho/std": float(everything.std()),
  }
  for path, rho in leaves:
    # ("backbone", <layer>, ..., "rho")
    name = "_".join(entry.key for entry in path[1:-1])
    summary[f"rho/{name}/mean"] = float(rho.mean())
    summary[f"rho/{name}/std"] = float(rho.std())
  return summary


class _Watch:
  """Checks metrics one step late, so that the device never waits for us."""

  def __init__(self) -> None:
    self._pending: tuple[int, Any] | None = None
    self._last: dict[str, float] = {}

  def see(self, step: int, metrics: Any, state: TrainState) -> None:
    """Takes the newest metrics and checks those before."""
    before, self._pending = self._pending, (step, metrics)
    if before is not None:
      self._check(*before, state)

  def flush(self, state: TrainState) -> dict[str, float]:
    """Checks what is pending; returns the newest metrics."""
    if self._pending is not None:
      self._check(*self._pending, state)
      self._pending = None
    return self._last

  def _check(self, step: int, metrics: Any, state: TrainState) -> None:
    self._last = {
      name: float(value) for name, value in jax.device_get(metrics).items()
    }
    finite.check_metrics(step, self._last, state)


def _remember(config, parts, state, pixels):
  """What method "mar" starts from, on every device."""
  memory = site_memory.begin(
    config,
    parts.network,
    jax.device_get(state.variables),
    parts.plan.unlabelled,
    experiment.create_mar_rules(config),
    pixels,
  )
  return parts.runner.place(memory)


def _prepare_pixels(config, datasets, stop, say):
  """The cache on disk, if the configuration asks for it."""
  if config.data.cache != "disk":
    return None
  from metabin_jax.data import pixel_preparation

  return pixel_preparation.prepare(
    datasets,
    height=config.data.height_px,
    width=config.data.width_px,
    root=config.data.cache_dir or None,
    workers=config.data.workers or None,
    say=say,
    stopped=lambda: stop.signal_number is not None,
  )


def _create_source(config, plan, pixels):
  workers = config.data.workers or None
  if config.data.loader == "tf":
    from metabin_jax.data import pipeline

    return pipeline.TfSource(
      plan, workers=workers, prefetch=config.data.prefetch, pixels=pixels
    )
  from metabin_jax.data import array_source

  return array_source.ArraySource(
    plan,
    workers=workers,
    cache_images=None if config.data.cache == "memory" else False,
    prefetch=config.data.prefetch,
    pixels=pixels,
  )


def _count_images(item) -> int:
  batches = [*item.base, item.mtrain, item.mtest, item.unlabelled]
  return sum(len(batch.pid) for batch in batches if batch is not None)
