"""Formats that programs are written in, by the ending of the file's name."""

from __future__ import annotations

import pathlib
from types import ModuleType

from metabin_jax.errors import UserError

SUFFIXES = (".stablehlo", ".onnx")


def check_suffix(option: str, path: pathlib.Path) -> None:
  """Refuses a file name that says no format."""
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(
      f"{option}={path} has an ending that says no format; choose one of "
      f"{', '.join(SUFFIXES)}."
    )


def format_of(path: pathlib.Path) -> ModuleType:
  """The module with `require`, `save`, `load` and `describe` for a file."""
  # Late: mistakes in names should not wait for JAX.
  from metabin_jax.interop import onnx_file, stablehlo

  return onnx_file if path.suffix.lower() == ".onnx" else stablehlo
