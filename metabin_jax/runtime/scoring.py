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
from metabin_jax.evaluation import evaluate, extract
from metabin_jax.runtime import checkpoint, experiment, resolve, run_folder


class LoadedRun(NamedTuple):
  """A trained network."""

  step: int
  config: Any  # resolved
  network: Any
  variables: dict[str, Any]


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
  return LoadedRun(found.step, config, network, variables)


def score(
  config: Any,
  network: Any,
  variables: Mapping[str, Any],
  targets: Sequence[DataSet],
  *,
  cross_camera: bool | None = None,
) -> dict[str, dict[str, float]]:
  """Evaluates on every target.

  Args:
    config: resolved configuration (sections data and eval).
    network: the network.
    variables: its weights.
    targets: checked data sets with folds.
    cross_camera: overrides `config.eval.cross_camera`.

  Returns:
    Summary by target name, see `evaluation.summary.combine_folds`.

  Raises:
    UserError: if an image cannot be read or no query is valid.
  """
  embed = extract.make_embedder(network, variables, config.eval.batch_size)
  height, width = config.data.height_px, config.data.width_px
  if cross_camera is None:
    cross_camera = config.eval.cross_camera
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
        ranks=config.eval.ranks,
        metric=config.eval.metric,
        cross_camera=cross_camera,
      )
      for target in targets
    }
