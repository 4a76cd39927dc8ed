"""Nodes and constants of an ONNX graph that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

INPUT = "images"


class Graph:
  """Nodes and constants of a graph that is being written."""

  def __init__(self) -> None:
    """Makes an empty graph."""
    self.nodes: list[Any] = []
    self.constants: list[Any] = []

  def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
    """Appends a node; returns the name of its output."""
    from onnx import helper

    name = f"v{len(self.nodes)}"
    self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
    return name

  def constant(self, value: Any) -> str:
    """Appends a constant; returns its name."""
    from onnx import numpy_helper

    name = f"c{len(self.constants)}"
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    self.constants.append(numpy_helper.from_array(array, name))
    return name

  def integers(self, values: Sequence[int]) -> str:
    """A constant of ONNX's type of sizes and axes."""
    return self.constant(np.array(values, np.int64))

  def transposed(self, x: str, order: Sequence[int]) -> str:
    """x with its axes in another order."""
    return self.add("Transpose", x, perm=list(order))
