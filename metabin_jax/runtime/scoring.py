"""Scores a trained network on target data sets."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from metabin_jax.data.images import load_image
from metabin_jax.data.records import DataSet, Record
from metabin_jax.errors import UserError
from metabin_jax.evaluation import adabn, evaluate, extract, settings, summary
from metabin_jax.evaluation.summary import Summary
from metabin_jax.models.reid import PIXEL_MEAN, PIXEL_STD
from metabin_jax.runtime import (
  adaptation,
  checkpoint,
  digest,
  distributed,
  experiment,
  leaves,
  resolve,
  run_folder,
)

EmbedRecords = Callable[[Sequence[Record]], np.ndarray]
# Target -> fold -> counts of what was adapted on.
AdaptedFolds = dict[str, dict[str, dict[str, int]]]


class LoadedRun(NamedTuple):
  """A trained network."""

  step: int
  config: Any  # resolved
  network: Any
  variables: dict[str, Any]
  sources: list[dict[str, Any]]  # from `run_folder.describe_sources`
  card: dict[str, Any]  # from `make_card`


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
  card = make_card(workdir, found, config, variables)
  return LoadedRun(found.step, config, network, variables, sources, card)


def make_card(
  workdir: pathlib.Path,
  found: checkpoint.Restored,
  config: Any,
  variables: Mapping[str, Any],
) -> dict[str, Any]:
  """What a user of a network's embeddings must know, as JSON data.

  Args:
    workdir: folder of the run.
    found: its checkpoint.
    config: its configuration, resolved.
    variables: its weights.

  Returns:
    Which model, what it takes, what it gives, what it was trained on and on
    what terms these data are given.
  """
  # Runs of before terms were described have none.
  sources = [
    {**source, "terms": source.get("terms", run_folder.terms(source["public"]))}
    for source in found.metadata.get("sources", [])
  ]
  return {
    "model": {
      "run": workdir.resolve().name,
      "step": found.step,
      "sha256": digest.digest_leaves(leaves.unnest(variables), None),
      "backbone": config.model.backbone,
      "width": config.model.width,
      "norm": config.model.norm,
      "last_stride": config.model.last_stride,
    },
    "input": {
      "height_px": config.data.height_px,
      "width_px": config.data.width_px,
      "channels": "RGB",
      "range": [0, 255],
      "resize": "bicubic",
      "mean": list(PIXEL_MEAN),
      "std": list(PIXEL_STD),
    },
    "embedding": {
      "dim": variables["params"]["classifier"].shape[0],
      "metric": config.eval.metric,
      "flip": config.eval.flip,
    },
    "training": {
      "sources": sources,
      "pretrained": found.metadata.get("pretrained"),
      "converted": found.metadata.get("converted"),
    },
  }


def override_eval(config: Any, changes: Mapping[str, Any]) -> Any:
  """Sets keys of the section `eval` of a resolved configuration.

  Args:
    config: the configuration; it stays as it is.
    changes: new values by the name of the key; of `bnta` some of its own keys.

  Returns:
    The changed configuration, resolved again.

  Raises:
    UserError: if a value is not allowed.
  """
  data = resolve.to_dict(config)
  changes = dict(changes)
  how = changes.pop("bnta", {})
  data["eval"]["bnta"] |= how
  data["eval"] |= changes
  if how and data["eval"]["adapt"] != "bnta":
    raise UserError(
      f"eval.bnta is given {', '.join(how)}, and nothing is adapted, as "
      f"eval.adapt is {data['eval']['adapt']!r}; set it to 'bnta' too "
      "(--adapt=bnta)."
    )
  return resolve.resolve(resolve.from_dict(data))


def score(
  config: Any,
  network: Any,
  variables: Mapping[str, Any],
  targets: Sequence[DataSet],
  *,
  adapted: AdaptedFolds | None = None,
) -> dict[str, Summary]:
  """Evaluates on every target.

  Args:
    config: resolved configuration (sections data and eval).
    network: the network.
    variables: its weights.
    targets: checked data sets with folds.
    adapted: gets target -> fold -> `adaptation.Adapted.counts`, where the
      network is adapted before it is scored.

  Returns:
    Summary by target name, see `evaluation.summary.combine_folds`.

  Raises:
    UserError: if an image cannot be read or no query is valid.
  """
  return {
    target.name: summary.combine_folds(
      [
        summary.summarize(ranked.ranking, config.eval.ranks)
        for ranked in rank_target(
          config, network, variables, target, adapted=adapted
        )
      ]
    )
    for target in targets
  }


def rank_target(
  config: Any,
  network: Any,
  variables: Mapping[str, Any],
  target: DataSet,
  *,
  adapted: AdaptedFolds | None = None,
) -> Iterator[evaluate.RankedFold]:
  """Embeds a target and ranks its folds.

  Args:
    config: resolved configuration (sections data and eval).
    network: the network.
    variables: its weights.
    target: a checked data set with folds.
    adapted: see `score`.

  Yields:
    The folds, in their order.

  Raises:
    UserError: if an image cannot be read.
  """
  chosen = settings.from_config(config.eval)
  size = config.eval.batch_size
  # Those of this process: others embed images of their own.
  devices = jax.local_devices()[: config.parallel.devices or None]
  variables = jax.device_get(dict(variables))
  height, width = config.data.height_px, config.data.width_px
  with ThreadPoolExecutor(config.data.workers or None) as pool:

    def load(paths: Sequence[str]) -> np.ndarray:
      read = pool.map(lambda path: load_image(path, height, width), paths)
      return np.stack(list(read))

    def embed_with(variables: Mapping[str, Any]) -> EmbedRecords:
      embed = extract.make_embedder(
        network, variables, size, flip=chosen.flip, devices=devices
      )

      def embed_paths(paths: Sequence[str]) -> np.ndarray:
        return extract.embed_paths(embed, load, paths)

      return lambda records: distributed.embed_shares(
        embed_paths, [record.path for record in records]
      )

    if chosen.adapt_bn == chosen.adapt == "none":
      embed = embed_with(variables)
      yield from evaluate.rank_folds(target.folds, embed, chosen)
      return
    for fold in target.folds:  # each from the weights of the training
      if chosen.adapt == "bnta":
        rules, plan = adaptation.from_config(chosen.bnta)
        found = adaptation.adapt(
          network,
          variables,
          load,
          adabn.choose_paths(fold, chosen.bnta.images_of),
          rules=rules,
          plan=plan,
          batch_size=size,
        )
        if adapted is not None:
          adapted.setdefault(target.name, {})[fold.name] = found.counts()
        moved = found.variables
      else:
        paths = adabn.choose_paths(fold, chosen.adapt_bn)
        moved = adabn.adapt(network, variables, load, paths, size)
      yield from evaluate.rank_folds([fold], embed_with(moved), chosen)
