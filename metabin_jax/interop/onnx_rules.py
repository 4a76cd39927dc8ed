"""How each primitive of JAX that image networks are made of is said in ONNX.

Arrays keep JAX's layout, images [N, H, W, C]; ONNX's convolutions and pools
want channels second and stand between two transpositions, which runtimes move
together and take out.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metabin_jax.interop.onnx_nodes import INPUT, Graph

_BATCH = "n"  # the symbol of N

# JAX -> ONNX, where both take the same operands and broadcast alike.
_SAME = {
  "abs": "Abs",
  "add": "Add",
  "ceil": "Ceil",
  "cos": "Cos",
  "div": "Div",
  "eq": "Equal",
  "erf": "Erf",
  "exp": "Exp",
  "floor": "Floor",
  "ge": "GreaterOrEqual",
  "gt": "Greater",
  "le": "LessOrEqual",
  "log": "Log",
  "logistic": "Sigmoid",
  "lt": "Less",
  "max": "Max",
  "min": "Min",
  "mul": "Mul",
  "neg": "Neg",
  "not": "Not",
  "pow": "Pow",
  "sign": "Sign",
  "sin": "Sin",
  "sqrt": "Sqrt",
  "sub": "Sub",
  "tanh": "Tanh",
}
_REDUCTIONS = {
  "reduce_max": "ReduceMax",
  "reduce_min": "ReduceMin",
  "reduce_sum": "ReduceSum",
}

# Each rule: (graph, equation, names or known arrays of the inputs) -> names of
# the outputs, or None for a use of the primitive that it does not know.
_Rule = Callable[[Graph, Any, Sequence[Any]], "list[str] | None"]
RULES: dict[str, _Rule] = {}


def _rule(*names: str) -> Callable[[_Rule], _Rule]:
  def register(function: _Rule) -> _Rule:
    for name in names:
      RULES[name] = function
    return function

  return register


def _named(graph: Graph, value: Any) -> str:
  return value if isinstance(value, str) else graph.constant(value)


def _shape_of(atom: Any) -> tuple[Any, ...]:
  return tuple(atom.aval.shape)


@_rule(*_SAME)
def _same(graph, equation, inputs):
  names = [_named(graph, value) for value in inputs]
  return [graph.add(_SAME[equation.primitive.name], *names)]


@_rule("rsqrt")
def _rsqrt(graph, equation, inputs):
  return [graph.add("Reciprocal", graph.add("Sqrt", inputs[0]))]


@_rule("square", "integer_pow")
def _power(graph, equation, inputs):
  power = equation.params.get("y", 2)
  if power == 2:
    return [graph.add("Mul", inputs[0], inputs[0])]
  exponent = np.array(power, equation.outvars[0].aval.dtype)
  return [graph.add("Pow", inputs[0], graph.constant(exponent))]


@_rule("clamp")
def _clamp(graph, equation, inputs):
  low, x, high = (_named(graph, value) for value in inputs)
  return [graph.add("Min", graph.add("Max", x, low), high)]


@_rule("select_n")
def _select(graph, equation, inputs):
  if len(inputs) != 3 or equation.invars[0].aval.dtype != np.bool_:
    return None
  which, no, yes = (_named(graph, value) for value in inputs)
  return [graph.add("Where", which, yes, no)]


@_rule("convert_element_type")
def _cast(graph, equation, inputs):
  from onnx import helper

  dtype = np.dtype(equation.params["new_dtype"])
  kind = helper.np_dtype_to_tensor_dtype(dtype)
  return [graph.add("Cast", _named(graph, inputs[0]), to=kind)]


@_rule(*_REDUCTIONS)
def _reduce(graph, equation, inputs):
  kind = _REDUCTIONS[equation.primitive.name]
  axes = graph.integers(equation.params["axes"])
  return [graph.add(kind, inputs[0], axes, keepdims=0)]


@_rule("dot_general")
def _product(graph, equation, inputs):
  (left_sum, right_sum), (left_batch, right_batch) = equation.params[
    "dimension_numbers"
  ]
  left, right = (list("." * len(_shape_of(v))) for v in equation.invars)
  letters = iter(string.ascii_lowercase)
  batch = ""
  for i, j in zip(left_batch, right_batch, strict=True):
    left[i] = right[j] = letter = next(letters)
    batch += letter
  for i, j in zip(left_sum, right_sum, strict=True):
    left[i] = right[j] = next(letters)
  free = ""
  for side in (left, right):
    for axis, letter in enumerate(side):
      if letter == ".":
        side[axis] = next(letters)
        free += side[axis]
  sums = f"{''.join(left)},{''.join(right)}->{batch}{free}"
  names = [_named(graph, value) for value in inputs]
  return [graph.add("Einsum", *names, equation=sums)]


@_rule("conv_general_dilated")
def _convolution(graph, equation, inputs):
  params = equation.params
  numbers = params["dimension_numbers"]
  kernel = inputs[1]
  plain = params["batch_group_count"] == 1 and set(params["lhs_dilation"]) <= {
    1
  }
  if not plain or isinstance(kernel, str):
    return None
  low, high = zip(*params["padding"], strict=True)
  if min(*low, *high) < 0:
    return None
  y = graph.add(
    "Conv",
    graph.transposed(inputs[0], numbers.lhs_spec),
    graph.constant(kernel.transpose(numbers.rhs_spec)),
    strides=list(params["window_strides"]),
    dilations=list(params["rhs_dilation"]),
    pads=[*low, *high],
    group=params["feature_group_count"],
  )
  return [graph.transposed(y, np.argsort(numbers.out_spec).tolist())]


@_rule("reduce_window_max", "reduce_window_sum")
def _pool(graph, equation, inputs):
  params = equation.params
  window, padding = params["window_dimensions"], params["padding"]
  fields = ("window_strides", "base_dilation", "window_dilation")
  strides, base, dilation = (params[field] for field in fields)
  outside = {
    (window[axis], tuple(padding[axis]), strides[axis]) for axis in (0, -1)
  }
  if len(window) != 4 or outside != {(1, (0, 0), 1)} or set(base) != {1}:
    return None
  kind: str = "MaxPool"
  more: dict[str, Any] = {"dilations": list(dilation[1:3])}
  if equation.primitive.name == "reduce_window_sum":
    if set(dilation) != {1}:
      return None
    kind, more = "AveragePool", {"count_include_pad": 1}
  y = graph.add(
    kind,
    graph.transposed(inputs[0], (0, 3, 1, 2)),
    kernel_shape=list(window[1:3]),
    strides=list(strides[1:3]),
    pads=[padding[1][0], padding[2][0], padding[1][1], padding[2][1]],
    **more,
  )
  y = graph.transposed(y, (0, 2, 3, 1))
  if kind == "AveragePool":
    y = graph.add("Mul", y, graph.constant(np.float32(math.prod(window))))
  return [y]


@_rule("broadcast_in_dim")
def _broadcast(graph, equation, inputs):
  given = _shape_of(equation.invars[0])
  wanted = _shape_of(equation.outvars[0])
  places = equation.params["broadcast_dimensions"]
  x = _named(graph, inputs[0])
  new = [axis for axis in range(len(wanted)) if axis not in places]
  if new:
    x = graph.add("Unsqueeze", x, graph.integers(new))
  held = dict(zip(places, given, strict=True))
  grows = [
    held.get(axis, 1) != size and size != 1 for axis, size in enumerate(wanted)
  ]
  if not any(grows):
    return [x]
  # A 1 lets the size be what it is.
  sizes = [
    size if grow else 1 for size, grow in zip(wanted, grows, strict=True)
  ]
  shape = _sizes(graph, sizes)
  return shape and [graph.add("Expand", x, shape)]


def _sizes(graph: Graph, sizes: Sequence[Any]) -> str | None:
  """Sizes as an array, multiples of N computed where the graph runs."""
  if all(isinstance(size, int) for size in sizes):
    return graph.integers(sizes)
  count = graph.add("Shape", INPUT, start=0, end=1)
  parts = []
  for size in sizes:
    if isinstance(size, int):
      parts.append(graph.integers([size]))
      continue
    multiple = re.fullmatch(rf"(?:(\d+)\*)?{_BATCH}", str(size))
    if not multiple:
      return None
    factor = graph.integers([int(multiple[1] or 1)])
    parts.append(graph.add("Mul", count, factor))
  return graph.add("Concat", *parts, axis=0)


@_rule("reshape")
def _reshape(graph, equation, inputs):
  if equation.params["dimensions"] is not None:
    return None
  sizes = _shape_of(equation.outvars[0])
  wanted = [size if isinstance(size, int) else -1 for size in sizes]
  if wanted.count(-1) > 1:
    return None
  x = _named(graph, inputs[0])
  return [graph.add("Reshape", x, graph.integers(wanted))]


@_rule("squeeze")
def _squeeze(graph, equation, inputs):
  axes = graph.integers(equation.params["dimensions"])
  return [graph.add("Squeeze", inputs[0], axes)]


@_rule("transpose")
def _transpose(graph, equation, inputs):
  return [graph.transposed(inputs[0], equation.params["permutation"])]


@_rule("concatenate")
def _concatenate(graph, equation, inputs):
  names = [_named(graph, value) for value in inputs]
  return [graph.add("Concat", *names, axis=equation.params["dimension"])]


@_rule("split")
def _split(graph, equation, inputs):
  axis, sizes = equation.params["axis"], equation.params["sizes"]
  if not all(isinstance(size, int | np.integer) for size in sizes):
    return None
  ends = np.cumsum(sizes).tolist()
  return [
    _part(graph, inputs[0], {axis: (end - int(size), end, 1)})
    for end, size in zip(ends, sizes, strict=True)
  ]


@_rule("slice")
def _slice(graph, equation, inputs):
  params, shape = equation.params, _shape_of(equation.invars[0])
  steps = params["strides"] or (1,) * len(shape)
  first, last = params["start_indices"], params["limit_indices"]
  parts = {
    axis: part
    for axis, part in enumerate(zip(first, last, steps, strict=True))
    if part != (0, shape[axis], 1)
  }
  if not all(isinstance(b, int) for part in parts.values() for b in part):
    return None
  return [_part(graph, inputs[0], parts)]


@_rule("gather")
def _take(graph, equation, inputs):
  """Known places along one axis, as x[:, ::2] is where N is a symbol."""
  places, shape = inputs[1], _shape_of(equation.invars[0])
  numbers = equation.params["dimension_numbers"]
  if isinstance(places, str) or places.ndim != 2 or places.shape[1] != 1:
    return None
  (axis,) = numbers.start_index_map
  others = tuple(i for i in range(len(shape)) if i != axis)
  wanted = [1 if i == axis else size for i, size in enumerate(shape)]
  plain = (
    numbers.collapsed_slice_dims == (axis,)
    and numbers.offset_dims == others
    and list(equation.params["slice_sizes"]) == wanted
    and isinstance(shape[axis], int)
    and places.min() >= 0
    and places.max() < shape[axis]
  )
  index = graph.integers(places[:, 0]) if plain else None
  return index and [graph.add("Gather", inputs[0], index, axis=axis)]


@_rule("rev")
def _reverse(graph, equation, inputs):
  whole = (-1, np.iinfo(np.int64).min, -1)
  axes = equation.params["dimensions"]
  return [_part(graph, inputs[0], dict.fromkeys(axes, whole))]


def _part(graph: Graph, x: str, parts: dict[int, Any]) -> str:
  starts, ends, steps = zip(*parts.values(), strict=True)
  arrays = map(graph.integers, (starts, ends, list(parts), steps))
  return graph.add("Slice", x, *arrays)


@_rule("pad")
def _pad(graph, equation, inputs):
  low, high, inner = zip(*equation.params["padding_config"], strict=True)
  if min(*low, *high, 0) < 0 or any(inner):
    return None
  x, filling = (_named(graph, value) for value in inputs)
  return [graph.add("Pad", x, graph.integers([*low, *high]), filling)]
