"""A run folder around weights that were trained elsewhere."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from metabin_jax import default_config, models
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.errors import UserError
from metabin_jax.interop import official, weights
from metabin_jax.models import registry
from metabin_jax.runtime import (
  checkpoint,
  experiment,
  pretrained,
  resolve,
  run_folder,
  scoring,
)

_STEP = 0


def create_run(
  workdir: pathlib.Path,
  initial: pretrained.Initial,
  *,
  norm: str | None = None,
  last_stride: int = 1,
  height: int = 256,
  width: int = 128,
  trained_on: Sequence[str] = (),
) -> dict[str, Any]:
  """Writes a folder that every command takes for a trained run.

  Checkpoints of MetaBIN's own code keep classifier and neck. Ordinary networks
  have neither: their neck is the identity (up to the batch norm's epsilon), so
  that the embedding is the pooled feature, and a classifier of one class stands
  in for theirs.

  Args:
    workdir: a folder without checkpoints.
    initial: from `pretrained.load`.
    norm: arm of the network; None takes that of the weights.
    last_stride: 1 or 2, see `models.create`.
    height: of the images that it embeds, in pixels.
    width: likewise.
    trained_on: names of the public data sets behind the weights, for the
      checks of later commands and the terms that go with them.

  Returns:
    The record of `pretrained.describe`.

  Raises:
    UserError: if the folder holds checkpoints, a data set has no such name, or
      the weights do not fit the arm.
  """
  store = checkpoint.CheckpointStore(workdir / run_folder.CHECKPOINTS)
  if store.steps():
    raise UserError(f"{workdir} holds a run already; choose another --workdir.")
  sources = [_source(name) for name in trained_on]
  found = initial.weights
  config = default_config.get_config()
  config.model.backbone = found.network.backbone
  config.model.width = found.network.width
  config.model.norm = norm or found.network.norm
  config.model.last_stride = last_stride
  config.data.height_px, config.data.width_px = height, width
  balanced = config.model.norm in registry.balanced_norms()
  config.method = "metabin" if balanced else "joint"
  resolved = resolve.resolve(config)
  num_classes = found.num_classes or 1
  network = experiment.create_network(resolved, num_classes)
  variables = models.init_variables(network, jax.random.key(0), height, width)
  filled = weights.fill(
    variables, found, resolved.model.norm, classifier=found.num_classes > 0
  )
  record = pretrained.describe(initial, filled)
  description = run_folder.describe(
    resolve.to_dict(resolved), num_classes, data_sha256=""
  )
  description |= {"sources": sources, "converted": record}
  store.save(_STEP, filled.variables, description)
  run_folder.save_description(workdir, description)
  return record


def to_official(
  workdir: pathlib.Path, step: int | None = None
) -> tuple[dict[str, Any], scoring.LoadedRun]:
  """A run's weights in the layout of MetaBIN's own code.

  Args:
    workdir: folder of the run.
    step: another checkpoint than the newest.

  Returns:
    (arrays by the reference's keys, the run).

  Raises:
    UserError: if the reference has no such network.
  """
  run = scoring.load_run(workdir, step)
  model = run.config.model
  official.check_network(model.backbone, model.norm)
  return official.to_official(run.variables, model.norm), run


def _source(name: str) -> dict[str, Any]:
  if name not in PUBLIC_SETS:
    raise UserError(
      f"--trained-on names {name!r}, which is no public data set here; choose "
      f"of {', '.join(PUBLIC_SETS)}."
    )
  return {
    "name": name,
    "images": None,
    "public": name,
    "variant": "",
    "notes": [],
    "terms": run_folder.terms(name),
  }
