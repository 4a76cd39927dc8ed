"""Folded programs as ONNX files; ONNX Runtime reads them back."""

from __future__ import annotations

import importlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.interop import onnx_graph, onnx_nodes

CARD = "metabin"  # key of the card in the file's metadata
_PACKAGES = ("onnx", "onnxruntime")


def require() -> None:
  """Checks that the packages are there.

  Raises:
    UserError: says how to install what is missing.
  """
  for name in _PACKAGES:
    try:
      importlib.import_module(name)
    except ImportError as error:
      raise UserError(
        f"ONNX files need the package {name}; install it with `pip install "
        "-e '.[onnx]'` in the repository's folder, or export to .stablehlo."
      ) from error


def save(path: pathlib.Path, folded: Any, card: Mapping[str, Any]) -> None:
  """Writes a program that ONNX's checker has passed.

  Args:
    path: the file.
    folded: from `folding.fold`.
    card: JSON data, kept in the metadata of the file.

  Raises:
    UserError: if the program has an operation without a rule.
  """
  import onnx

  model = onnx_graph.build(folded)
  onnx.helper.set_model_props(model, {CARD: json.dumps(card)})
  onnx.checker.check_model(model, full_check=True)
  # As bytes: onnx.save would guess a format from the name.
  path.write_bytes(model.SerializeToString())


def load(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """Reads a program back.

  Args:
    path: what `save` has written.

  Returns:
    uint8 [N, H, W, 3] -> float32 [N, D], on the CPU.

  Raises:
    UserError: if it is no such file.
  """
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3  # errors; warnings tell of fused nodes
  try:
    session = onnxruntime.InferenceSession(
      path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
  except Exception as error:  # its classes differ between versions
    raise UserError(f"{path} is no ONNX file, or is damaged.") from error
  return lambda images: session.run(None, {onnx_nodes.INPUT: images})[0]


def describe() -> dict[str, Any]:
  """What a reader of the file must know, as JSON data."""
  import onnx

  return {
    "format": "ONNX",
    "opset": onnx_graph.OPSET,
    "input": onnx_nodes.INPUT,
    "output": onnx_graph.OUTPUT,
    "onnx": onnx.__version__,
  }
