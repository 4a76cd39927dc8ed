"""Writes scores for machines."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence

from metabin_jax.evaluation.table import Row, save_json, to_json


def save(rows: Iterable[Row], files: Sequence[pathlib.Path]) -> None:
  """Writes the same numbers as the table, in [0, 1], to each file."""
  data = to_json(list(rows))
  for file in files:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_json(file, data)
