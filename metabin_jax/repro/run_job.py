"""One job as a process: `python -m metabin_jax.repro.run_job FOLDER`.

Its peak memory is the job's, and a crash does not take other jobs along.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from metabin_jax.data import checks, readers, splits
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError
from metabin_jax.evaluation import settings
from metabin_jax.evaluation.summary import COUNTS, STD_SUFFIX, Summary
from metabin_jax.repro import mined_pairs
from metabin_jax.repro.costs import Costs
from metabin_jax.repro.job_folder import (
  HELD,
  JobFolder,
  lacks,
  missing_targets,
)
from metabin_jax.repro.types import Scoring, load_job
from metabin_jax.runtime import (
  checkpoint,
  compilation_cache,
  loop,
  metric_writer,
  resolve,
  run_folder,
  scoring,
  training_data,
)
from metabin_jax.runtime.finite import NonFiniteError

FAILED = 1
USER_MISTAKE = 2


def main(argv: Sequence[str]) -> int:
  """Runs or continues the job in a folder.

  Args:
    argv: the folder.

  Returns:
    0 if result.json is there; 128 and the signal's number if a signal has
    stopped the training, which the same call continues; `HELD`; else another
    status, with the reason in error.txt.
  """
  folder = JobFolder(pathlib.Path(argv[0]))
  with folder.hold() as held:
    if not held:
      return HELD
    folder.error.unlink(missing_ok=True)
    try:
      return run(folder)
    except (UserError, NonFiniteError, OSError) as error:
      _write_error(folder, str(error))
      print(f"error: {error}", file=sys.stderr, flush=True)
      return USER_MISTAKE if isinstance(error, UserError) else FAILED
    except Exception:
      _write_error(folder, traceback.format_exc())
      raise


def run(folder: JobFolder) -> int:
  """Trains, scores every kept checkpoint and writes the result.

  Args:
    folder: with a job in it, held by this process.

  Returns:
    0, or 128 and the number of the signal that has stopped the training.

  Raises:
    UserError: for a mistake in the configuration or the data.
    NonFiniteError: if the training diverges.
  """
  task = folder.load_job()
  result = folder.load_result()
  scorings = task.get("scorings", {})  # older jobs have none
  if result is not None and not lacks(result, task["more_targets"], scorings):
    return 0
  config = resolve.resolve(resolve.from_dict(task["config"]))
  data = training_data.open_training_data(config)
  specs = [*config.data.targets, *task["more_targets"]]
  targets = [readers.open_dataset(spec) for spec in specs]
  checks.check_targets(
    [*data.sources, *data.unlabelled],
    targets,
    cross_camera=config.eval.cross_camera,
  )
  compilation_cache.enable()
  costs = Costs(folder.costs)
  with costs.phase("train"):
    outcome = loop.train(
      # A stopped session has left a checkpoint out of turn, which must not
      # push out one that is to be scored.
      _keep_more(_start_from(config, folder, task), costs.earlier_sessions),
      data.sources,
      folder.run,
      say=_say,
      unlabelled=data.unlabelled,
    )
  if outcome.stopped_by is not None:
    _say(f"stopped after iteration {outcome.step} of {outcome.total_steps}")
    return 128 + outcome.stopped_by
  own = [target.name for target in targets[: len(config.data.targets)]]
  with costs.phase("score"):
    # What has been scored on all these targets before is not scored again.
    before = result or {}
    if result is None or missing_targets(result, task["more_targets"]):
      before = {
        "snapshots": _score_snapshots(config, folder.run, outcome, targets, own)
      }
    snapshots = before["snapshots"]
    ways = before.get("scorings", {}) | {
      name: _score_otherwise(config, changes, outcome, targets, own)
      for name, changes in scorings.items()
      if name not in before.get("scorings", {})
    }
  folder.save_result(
    {
      **task,
      "final": snapshots[-1],
      # As the published model was chosen. It looks at the targets, so it is
      # no estimate of what an unseen target would give.
      "best_on_target": _best(snapshots),
      "snapshots": snapshots,
      # The last iteration, scored in other ways.
      "scorings": ways,
      "own_targets": own,
      "evaluation": settings.describe(settings.from_config(config.eval)),
      "targets": {target.name: _describe_target(target) for target in targets},
      "parameters": _count(outcome.state.params),
      "balance_parameters": _count(outcome.state.balance),
      "iterations": outcome.step,
      "mined_pairs": mined_pairs.count(folder.run / metric_writer.FILE_NAME),
      "cost": costs.total(),
      "host_cores": os.cpu_count(),
      "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      **_describe_run(folder.run),
    }
  )
  return 0


def _start_from(
  config: config_dict.FrozenConfigDict,
  folder: JobFolder,
  task: Mapping[str, Any],
) -> config_dict.FrozenConfigDict:
  """The configuration, with the run that the job starts from."""
  start = load_job(task["job"]).start
  if start is None:
    return config
  # Jobs of a scale and setting lie side by side.
  begun = JobFolder(folder.path.parent / start.name)
  if begun.load_result() is None:
    raise UserError(
      f"the job starts from {begun.path}, which is not finished; `metabin "
      "repro` runs that one first."
    )
  data = resolve.to_dict(config)
  data["model"]["pretrained"] = str(begun.run.absolute())
  return resolve.resolve(resolve.from_dict(data))


def average(
  scores: Mapping[str, Summary], targets: Sequence[str]
) -> dict[str, float]:
  """Unweighted mean over the targets of every share that all of them have."""
  summaries = [scores[name] for name in targets]
  means = {}
  for key in summaries[0] if summaries else ():
    values = [summary.get(key) for summary in summaries]
    known = [value for value in values if value is not None]
    counted = key in (*COUNTS, "folds") or key.endswith(STD_SUFFIX)
    if len(known) == len(values) and not counted:
      means[key] = float(np.mean(known))
  return means


def _keep_more(
  config: config_dict.FrozenConfigDict, number: int
) -> config_dict.FrozenConfigDict:
  data = resolve.to_dict(config)
  data["train"]["keep_checkpoints"] += number
  return resolve.resolve(resolve.from_dict(data))


def _score_snapshots(
  config: config_dict.FrozenConfigDict,
  workdir: pathlib.Path,
  outcome: loop.Outcome,
  targets: Sequence[DataSet],
  own: Sequence[str],
) -> list[dict[str, Any]]:
  """Scores of the newest regular checkpoints, the last one last."""
  store = checkpoint.CheckpointStore(workdir / run_folder.CHECKPOINTS)
  every = _checkpoint_steps(config, outcome.total_steps)
  regular = [
    step
    for step in store.steps()
    if step == outcome.step or (step and step % every == 0)
  ]
  snapshots = []
  for step in regular[-config.train.keep_checkpoints :]:
    variables: Mapping[str, Any] = outcome.state.variables
    if step != outcome.step:
      state = store.restore_raw(step).state
      variables = {name: state.get(name, {}) for name in variables}
    scores = scoring.score(config, outcome.network, variables, targets)
    means = average(scores, own)
    snapshots.append({"step": step, "scores": scores, "average": means})
    _say(f"step {step}: average {_percent(means)}")
  return snapshots


def _score_otherwise(
  config: config_dict.FrozenConfigDict,
  changes: Scoring,
  outcome: loop.Outcome,
  targets: Sequence[DataSet],
  own: Sequence[str],
) -> dict[str, Any]:
  """Scores of the trained network under changes of the section `eval`."""
  changed = scoring.override_eval(config, changes)
  adapted: scoring.AdaptedFolds = {}
  scores = scoring.score(
    changed,
    outcome.network,
    outcome.state.variables,
    targets,
    adapted=adapted,
  )
  means = average(scores, own)
  said = settings.describe(settings.from_config(changed.eval))
  _say(f"{said}: average {_percent(means)}")
  return {
    "changes": dict(changes),
    "evaluation": said,
    **({"adapted": adapted} if adapted else {}),
    "step": outcome.step,
    "scores": scores,
    "average": means,
  }


def _checkpoint_steps(
  config: config_dict.FrozenConfigDict, total_steps: int
) -> int:
  """Iterations between regular checkpoints."""
  known = config.train.checkpoint_every_steps or config.train.steps_per_epoch
  if known or config.train.steps:
    return known or total_steps
  return max(1, round(total_steps / config.train.epochs))


def _best(snapshots: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """The snapshot of the highest average rank-1; the later one of equals."""
  return max(
    snapshots, key=lambda s: (s["average"].get("rank-1", 0.0), s["step"])
  )


def _describe_run(workdir: pathlib.Path) -> dict[str, Any]:
  found = run_folder.load_description(workdir) or {}
  keys = (
    "num_classes",
    "data_sha256",
    "sources",
    "plugins",
    "versions",
    "device",
  )
  return {key: found[key] for key in keys if key in found}


def _describe_target(target: DataSet) -> dict[str, Any]:
  known = target.provenance
  return {
    "public": known.public,
    "variant": known.variant,
    "protocol": known.protocol or "own",
    "origin": known.origin,
    "folds": len(target.folds),
    "sha256": splits.split_digest(target),
    "notes": list(known.notes),
  }


def _count(tree: Any) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _percent(means: Mapping[str, float]) -> str:
  shown = [key for key in means if not key.startswith("TPR")]
  return ", ".join(f"{key} {100 * means[key]:.1f}" for key in shown)


def _write_error(folder: JobFolder, text: str) -> None:
  part = folder.error.with_name(f".{folder.error.name}.part")
  part.write_text(text.rstrip() + "\n", encoding="utf-8")
  os.replace(part, folder.error)


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
