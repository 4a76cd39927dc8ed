"""The data sets that a run is scored on, opened and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from metabin_jax.data import checks, overlaps
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError


def open_targets(
  loaded: Any,
  config: Any,
  specs: Sequence[str],
  open_dataset: Callable[[str], DataSet],
  note: Callable[[str], None],
) -> tuple[list[DataSet], list[str]]:
  """Opens targets and checks that the run was not trained on their persons.

  Args:
    loaded: the run, from `scoring.load_run`.
    config: its configuration.
    specs: descriptions of the targets, at least one.
    open_dataset: opens a description.
    note: gets a line about each thing a user should know.

  Returns:
    (the targets, sentences that a reader of the scores must know).

  Raises:
    UserError: if a target cannot be opened, has no valid query, or shows
      persons that the run was trained on.
  """
  targets = [open_dataset(spec) for spec in specs]
  for target in targets:
    for source in loaded.sources:
      overlaps.reject_trained(source["public"], target)
  sources, warnings = _open_sources(config.data.sources, open_dataset)
  for fold in checks.check_targets(
    sources, targets, cross_camera=config.eval.cross_camera
  ):
    for line in fold.notes:
      note(line)
  return targets, warnings


def _open_sources(
  specs: Sequence[str],
  open_dataset: Callable[[str], Any],
) -> tuple[list[Any], list[str]]:
  """The training data that is still there, to see that no target is in it.

  Returns:
    (data sets, a sentence about each that cannot be opened).
  """
  sources, warnings = [], []
  for spec in specs:
    try:
      sources.append(open_dataset(spec))
    except UserError as error:
      warnings.append(f"not checked for persons that were trained on: {error}")
  return sources, warnings
