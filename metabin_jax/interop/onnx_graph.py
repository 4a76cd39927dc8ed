"""A folded program as an ONNX graph, by the rules of onnx_rules.py.

A program with a primitive that has no rule is refused by name.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.extend
import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.interop.onnx_nodes import INPUT, Graph
from metabin_jax.interop.onnx_rules import RULES

OUTPUT = "embeddings"
OPSET = 18
_IR_VERSION = 8  # the oldest that knows this opset


def build(folded: Any) -> Any:
  """Writes a program as an ONNX model.

  Args:
    folded: from `folding.fold`: one array [N, ...] in, one [N, ...] out, with
      N the only symbol, named "n".

  Returns:
    An `onnx.ModelProto` with the input "images" and the output "embeddings".

  Raises:
    UserError: for a primitive, or a use of one, that has no rule here.
  """
  from onnx import helper

  graph = Graph()
  jaxpr = folded.jaxpr
  names = {jaxpr.invars[0]: INPUT}
  consts = dict(zip(jaxpr.constvars, folded.consts, strict=True))

  def value(atom: Any) -> Any:
    if isinstance(atom, jax.extend.core.Literal):
      aval: Any = atom.aval
      return np.asarray(atom.val, aval.dtype)
    return np.asarray(consts[atom]) if atom in consts else names[atom]

  for equation in jaxpr.eqns:
    rule = RULES.get(equation.primitive.name)
    found = rule and rule(graph, equation, [value(v) for v in equation.invars])
    if not found:
      raise UserError(
        "this network cannot be written as ONNX: no rule is known for its "
        f"operation {_describe(equation)}; export it as .stablehlo."
      )
    names |= zip(equation.outvars, found, strict=True)
  graph.nodes.append(
    helper.make_node("Identity", [names[jaxpr.outvars[0]]], [OUTPUT])
  )
  return helper.make_model(
    helper.make_graph(
      graph.nodes,
      "embedder",
      [_described(INPUT, jaxpr.invars[0].aval)],
      [_described(OUTPUT, jaxpr.outvars[0].aval)],
      graph.constants,
    ),
    opset_imports=[helper.make_opsetid("", OPSET)],
    ir_version=_IR_VERSION,
    producer_name="metabin_jax",
  )


def _describe(equation: Any) -> str:
  shapes = (atom.aval.str_short() for atom in equation.invars)
  return f"{equation.primitive.name}({', '.join(shapes)})"


def _described(name: str, aval: Any) -> Any:
  from onnx import helper

  shape = [size if isinstance(size, int) else str(size) for size in aval.shape]
  kind = helper.np_dtype_to_tensor_dtype(np.dtype(aval.dtype))
  return helper.make_tensor_value_info(name, kind, shape)
