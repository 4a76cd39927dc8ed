"""What a run learns from, as its configuration says: opened and checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import config_dict

from metabin_jax.data import checks, readers
from metabin_jax.data.records import DataSet
from metabin_jax.runtime import resolve


class TrainingData(NamedTuple):
  """Data sets to learn from, and what their check counted.

  Attributes:
    sources: with labels.
    unlabelled: without; empty unless the method learns from such.
    report: of the sources.
    unlabelled_report: of the others, or None without any.
  """

  sources: list[DataSet]
  unlabelled: list[DataSet]
  report: checks.SourceReport
  unlabelled_report: checks.UnlabelledReport | None


def open_training_data(
  config: config_dict.FrozenConfigDict,
  open_dataset: Callable[[str], DataSet] = readers.open_dataset,
) -> TrainingData:
  """Opens `data.sources` and `data.unlabelled`, and checks them.

  Args:
    config: resolved.
    open_dataset: description -> data set.

  Raises:
    UserError: if data cannot be read or does not suit the method.
  """
  sources = [open_dataset(spec) for spec in config.data.sources]
  meta = config.method in resolve.META_METHODS
  report = checks.check_sources(sources, meta=meta)
  unlabelled = [open_dataset(spec) for spec in config.data.unlabelled]
  further = None
  if config.method == "mar":
    # Views are compared by one of its losses alone.
    further = checks.check_unlabelled(
      sources, unlabelled, cameras=config.mar.view_weight > 0
    )
  return TrainingData(sources, unlabelled, report, further)
