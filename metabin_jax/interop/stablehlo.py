"""Folded programs as serialized StableHLO, by jax.export."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from metabin_jax.errors import UserError
from metabin_jax.interop import folding

PLATFORMS = ("cpu", "cuda", "tpu")


def require() -> None:
  """Everything that is needed here comes with JAX."""


def save(path: pathlib.Path, folded: Any, card: Mapping[str, Any]) -> None:
  """Writes a program for all platforms.

  Args:
    path: the file.
    folded: from `folding.fold`.
    card: not written; the format has no place for it.
  """
  (aval,) = folded.in_avals
  spec = jax.ShapeDtypeStruct(aval.shape, aval.dtype)

  def embed(images):
    return folding.call(folded)(images)

  exported = export.export(jax.jit(embed), platforms=PLATFORMS)(spec)
  path.write_bytes(exported.serialize())


def load(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """Reads a program back.

  Args:
    path: what `save` has written.

  Returns:
    uint8 [N, H, W, 3] -> float32 [N, D], on JAX's default device.

  Raises:
    UserError: if it is no such file.
  """
  try:
    exported = export.deserialize(bytearray(path.read_bytes()))
  except Exception as error:  # what flatbuffers raises is not documented
    raise UserError(
      f"{path} is no StableHLO file of jax.export, or is damaged."
    ) from error
  call = jax.jit(exported.call)
  return lambda images: np.asarray(call(images))


def describe() -> dict[str, Any]:
  """What a reader of the file must know, as JSON data."""
  return {
    "format": "StableHLO, serialized by jax.export",
    "platforms": list(PLATFORMS),
    "jax": jax.__version__,
  }
