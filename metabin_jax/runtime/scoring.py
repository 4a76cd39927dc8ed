"""Scores a trained network on target data sets."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.data.images import load_image
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError
from metabin_jax.evaluation import evaluate, extract, settings
from metabin_jax.evaluation.summary import Summary
from metabin_jax.runtime import checkpoint, experiment, resolve, run_folder


class LoadedRun(NamedTuple):
  """A trained network."""

  step: int
  config: Any  # resolved
  network: Any
  variables: dict[str, Any]
  sources: list[dict[str, Any]]  # from `run_folder.describe_sources`


def load_run(
  workdir: pathlib.Path,
  step: int | None = None,
  *,
  warn: Callable[[str], None] | None = None,
) -> LoadedRun:
  """Loads the newest good checkpoint of a run.

  Args:
    workdir: folder of the run.
    step: another checkpoint than the newest.
    warn: gets one line about each damaged checkpoint; None logs it.

  Returns:
    Network and weights.

  Raises:
    UserError: if there is no run or no good checkpoint.
  """
  if not (workdir / run_folder.CHECKPOINTS).is_dir():
    raise UserError(
      f"{workdir} holds no run; give the --workdir of a `metabin train`."
    )
  store = checkpoint.CheckpointStore(
    workdir / run_folder.CHECKPOINTS, warn=warn
  )
  found = store.restore_raw(step)
  config = resolve.resolve(resolve.from_dict(found.metadata["config"]))
  network = experiment.create_network(config, found.metadata["num_classes"])
  variables = {
    name: found.state.get(name, {})
    for name in ("params", "balance", "batch_stats")
  }
  # Runs of before sources were described have none.
  sources = found.metadata.get("sources", [])
  return LoadedRun(found.step, config, network, variables, sources)


def override_eval(config: Any, changes: Mapping[str, Any]) -> Any:
  """Sets keys of the section `eval` of a resolved configuration.

  Args:
    config: the configuration; it stays as it is.
    changes: new values by the name of the key.

  Returns:
    The changed configuration, resolved again.

  Raises:
    UserError: if a value is not allowed.
  """
  data = resolve.to_dict(config)
  data["eval"] |= changes
  return resolve.resolve(resolve.from_dict(data))


def score(
  config: Any,
  network: Any,
  variables: Mapping[str, Any],
  targets: Sequence[DataSet],
) -> dict[str, Summary]:
  """Evaluates on every target.

  Args:
    config: resolved configuration (sections data and eval).
    network: the network.
    variables: its weights.
    targets: checked data sets with folds.

  Returns:
    Summary by target name, see `evaluation.summary.combine_folds`.

  Raises:
    UserError: if an image cannot be read or no query is valid.
  """
  chosen = settings.from_config(config.eval)
  embed = extract.make_embedder(
    network, variables, config.eval.batch_size, flip=chosen.flip
  )
  height, width = config.data.height_px, config.data.width_px
  with ThreadPoolExecutor(config.data.workers or None) as pool:

    def load(paths: Sequence[str]) -> np.ndarray:
      read = pool.map(lambda path: load_image(path, height, width), paths)
      return np.stack(list(read))

    return {
      target.name: evaluate.evaluate_target(
        target.folds,
        lambda records: extract.embed_paths(
          embed, load, [record.path for record in records]
        ),
        chosen,
      )
      for target in targets
    }
