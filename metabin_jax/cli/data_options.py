"""The two words that only a user can say about public data sets."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

ALLOW_PARTIAL = "allow-partial"
LICENSED_COPY = "i-have-a-licensed-copy"
ALLOW_PARTIAL_HELP = (
  "read public data sets whose counts differ from the published ones; results "
  "say so"
)
LICENSED_COPY_HELP = "read data sets that their authors have withdrawn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds both flags: `allow_partial` and `licensed_copy`."""
  parser.add_argument(
    f"--{ALLOW_PARTIAL}", action="store_true", help=ALLOW_PARTIAL_HELP
  )
  parser.add_argument(
    f"--{LICENSED_COPY}",
    action="store_true",
    dest="licensed_copy",
    help=LICENSED_COPY_HELP,
  )


def apply(
  specs: Iterable[str], *, allow_partial: bool, licensed_copy: bool
) -> tuple[str, ...]:
  """Writes the flags into descriptions, so that a run records them.

  Args:
    specs: descriptions of data sets.
    allow_partial: whether `--allow-partial` was given.
    licensed_copy: whether `--i-have-a-licensed-copy` was given.

  Returns:
    The descriptions; those of readers without these keys are unchanged.

  Raises:
    UserError: if a description is none.
  """
  # Late imports: mistakes in flags should not wait for the parsers.
  from metabin_jax.data import readers
  from metabin_jax.data.public import reading

  changed = []
  for spec in specs:
    if allow_partial:
      spec = readers.add_option(spec, reading.PARTIAL, "allow")
    if licensed_copy:
      spec = readers.add_option(spec, reading.LICENSED, "yes")
    changed.append(spec)
  return tuple(changed)
