"""Files that commands write: looked at before the work, written after it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.errors import UserError

if TYPE_CHECKING:  # evaluation is not needed to refuse a flag
  from metabin_jax.evaluation.table import Row


def check_folder(option: str, path: pathlib.Path) -> None:
  """Refuses a folder that cannot be made or written to; makes nothing.

  Args:
    option: how the user has named it, e.g. "--workdir".
    path: the folder.

  Raises:
    UserError: says what stands in the way.
  """
  place = path.absolute()
  while not place.exists() and place != place.parent:
    place = place.parent
  if not place.is_dir():
    raise UserError(
      f"{option}={path} cannot be a folder, since {place} is a file; choose "
      "another place."
    )
  if not os.access(place, os.W_OK | os.X_OK):
    raise UserError(
      f"{option}={path} cannot be written, since {place} is closed to you; "
      "choose another place."
    )


def check_file(option: str, path: pathlib.Path | None) -> None:
  """Refuses a file that cannot be written; None is no file."""
  if path is None:
    return
  if path.is_dir():
    raise UserError(f"{option}={path} is a folder; name a file.")
  check_folder(option, path.parent)


def save_scores(
  rows: Iterable[Row],
  files: Sequence[pathlib.Path],
  extra: Mapping[str, Any] | None = None,
) -> None:
  """Writes the same numbers as the table, in [0, 1], to each file.

  Args:
    rows: the rows of the table.
    files: where to; missing folders are made.
    extra: JSON data to stand beside "results" and "average".
  """
  from metabin_jax.evaluation.table import save_json, to_json

  data = to_json(list(rows)) | dict(extra or {})
  for file in files:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_json(file, data)


def evaluation_lines(descriptions: Mapping[str, str]) -> list[str]:
  """What to print below a table about how its numbers were made.

  Args:
    descriptions: by the name of the run, from `settings.describe`.

  Returns:
    One line, if all runs were evaluated alike; else one for each run.
  """
  if len(set(descriptions.values())) == 1:
    return [f"evaluation: {next(iter(descriptions.values()))}"]
  return [f"evaluation of {name}: {d}" for name, d in descriptions.items()]
