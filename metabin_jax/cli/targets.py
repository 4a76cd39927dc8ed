"""The data sets that a run is scored on, opened and checked."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from metabin_jax.cli import data_options
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError


def add_argument(parser: argparse.ArgumentParser) -> None:
  """Adds --target."""
  parser.add_argument(
    "--target",
    action="append",
    default=[],
    metavar="SPEC",
    help="a data set with query and gallery, READER:PATH[?key=value]; may be "
    "given several times; without it a run's own targets",
  )


def choose(
  place: object, wanted: Iterable[str], args: argparse.Namespace
) -> tuple[str, ...]:
  """Descriptions of targets, with the flags of `data_options` written in.

  Args:
    place: folder of the run, for the message.
    wanted: descriptions as given.
    args: holds these flags.

  Raises:
    UserError: if there is none.
  """
  specs = data_options.apply(
    wanted,
    allow_partial=args.allow_partial,
    licensed_copy=args.licensed_copy,
  )
  if not specs:
    raise UserError(f"{place} has no targets of its own; pass --target.")
  return specs


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
  # Late imports: help and mistakes in flags should not wait for these.
  from metabin_jax.data import checks, overlaps

  targets = [open_dataset(spec) for spec in specs]
  for target in targets:
    for source in loaded.sources:
      overlaps.reject_trained(source["public"], target)
  sources, warnings = _open_sources(
    [*config.data.sources, *config.data.unlabelled], open_dataset
  )
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
