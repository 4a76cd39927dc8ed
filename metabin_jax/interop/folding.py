"""A function's program with everything computed that is known beforehand.

A jaxpr is evaluated once more, by rules that leave less to compute:

* equations without an unknown input are computed now: running statistics become
  the affine maps they stand for;
* `(x - mean) * gain + bias` with known numbers, and every other chain of sums,
  products and quotients with such, becomes one product and one sum. The two
  numbers are computed in float64;
* x - x is zero, and so is a finite known number times it, which takes out what
  ops/centered.py adds for derivatives; x is taken to be finite;
* calls within the program (jit, checkpoint, custom derivatives) are written
  out, barriers against the compiler are dropped, and what no output needs is
  not computed;
* taking a constant part of an array is a slice, also where jax.numpy writes a
  gather because the number of images is a symbol.

Nothing here knows a network: the rules are those of arithmetic, up to rounding.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np

# Calls that are written out -> the parameter that holds their program.
_CALLS = {
  "jit": "jaxpr",
  "pjit": "jaxpr",
  "closed_call": "call_jaxpr",
  "core_call": "call_jaxpr",
  "checkpoint": "jaxpr",
  "remat": "jaxpr",
  "remat2": "jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "custom_lin": "call_jaxpr",
}
# Their results are their inputs.
_IDENTITIES = ("optimization_barrier", "stop_gradient", "copy", "name")
# Zero in, zero out.
_KEEP_ZERO = (
  "broadcast_in_dim",
  "convert_element_type",
  "neg",
  "reshape",
  "square",
  "squeeze",
)


def fold(function: Callable[[jax.Array], jax.Array], spec: Any) -> Any:
  """Traces a function of one array and folds its program.

  Args:
    function: to be folded; what it closes over is known.
    spec: shape and dtype of its argument; sizes may be symbols of jax.export.

  Returns:
    A `jax.extend.core.ClosedJaxpr` of one input and one output; see `call`.
  """
  closed = jax.make_jaxpr(function)(spec)

  def evaluate(x):
    (result,) = _evaluate(closed.jaxpr, closed.consts, [x], [True])
    return _array(result)

  return jax.make_jaxpr(evaluate)(spec)


def call(folded: Any) -> Callable[[jax.Array], jax.Array]:
  """A folded program as a function, of arrays of exactly the traced shape."""
  run = jax.extend.core.jaxpr_as_fun(folded)
  return lambda x: run(x)[0]


class _Affine:
  """x gain + bias with known gain and bias, not computed before it is used."""

  def __init__(self, x: jax.Array, gain: np.ndarray, bias: np.ndarray):
    self.x, self.gain, self.bias, self.shape = x, gain, bias, x.shape
    self._result: jax.Array | None = None

  def array(self) -> jax.Array:
    if self._result is None:
      self._result = self.x
      if (self.gain != 1).any():
        self._result = jax.lax.mul(self._result, self._known(self.gain))
      if (self.bias != 0).any():
        self._result = jax.lax.add(self._result, self._known(self.bias))
    return self._result

  def _known(self, value: np.ndarray) -> np.ndarray:
    shape = (1,) * (self.x.ndim - value.ndim) + value.shape
    return value.astype(self.x.dtype).reshape(shape)


class _Zero:
  """Zeros, not computed before they are used."""

  def __init__(self, aval: Any):
    self.shape, self.dtype = aval.shape, aval.dtype

  def array(self) -> jax.Array:
    return jax.lax.full(self.shape, 0, self.dtype)


def _array(value: Any) -> Any:
  return value.array() if isinstance(value, (_Affine, _Zero)) else value


def _is_known(value: Any) -> bool:
  return not isinstance(value, (_Affine, _Zero, jax.core.Tracer))


def _evaluate(
  jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], wanted: Sequence[bool]
) -> list[Any]:
  """Values of the outputs of a program; None for those that nobody wants."""
  values = dict(zip(jaxpr.constvars, consts, strict=True))
  values |= zip(jaxpr.invars, args, strict=True)

  def read(atom: Any) -> Any:
    literal = isinstance(atom, jax.extend.core.Literal)
    return atom.val if literal else values[atom]

  needed = _needed(jaxpr, wanted)
  for equation in jaxpr.eqns:
    used = [variable in needed for variable in equation.outvars]
    if any(used):
      inputs = [read(atom) for atom in equation.invars]
      outputs = _apply(equation, inputs, used)
      values |= zip(equation.outvars, outputs, strict=True)
  return [
    read(atom) if want else None
    for atom, want in zip(jaxpr.outvars, wanted, strict=True)
  ]


def _needed(jaxpr: Any, wanted: Sequence[bool]) -> set[Any]:
  """Variables that the wanted outputs depend on."""
  needed = {v for v, want in zip(jaxpr.outvars, wanted, strict=True) if want}
  for equation in reversed(jaxpr.eqns):
    if not needed.isdisjoint(equation.outvars):
      needed |= {
        atom
        for atom in equation.invars
        if not isinstance(atom, jax.extend.core.Literal)
      }
  return needed


def _apply(
  equation: Any, inputs: Sequence[Any], used: Sequence[bool]
) -> Sequence[Any]:
  """Values of the outputs of one equation."""
  name = equation.primitive.name
  if name in _IDENTITIES:
    return inputs
  if name in _CALLS:
    inner = equation.params[_CALLS[name]]
    consts = getattr(inner, "consts", ())
    return _evaluate(getattr(inner, "jaxpr", inner), consts, inputs, used)
  static = all(
    isinstance(size, int)
    for variable in equation.outvars
    for size in getattr(variable.aval, "shape", ())
  )
  if static and all(map(_is_known, inputs)):
    with jax.ensure_compile_time_eval():
      return _bind(equation, inputs)
  if len(equation.outvars) == 1:
    aval = equation.outvars[0].aval
    for rule in (_zero, _affine):
      result = rule(name, inputs, aval)
      if result is not None:
        return [result]
  inputs = [_array(value) for value in inputs]
  if name == "gather" and _is_known(inputs[1]):
    part = _slice(inputs[0], np.asarray(inputs[1]), equation.params)
    if part is not None:
      return [part]
  return _bind(equation, inputs)


def _bind(equation: Any, inputs: Sequence[Any]) -> Sequence[Any]:
  primitive = equation.primitive
  with equation.ctx.manager:
    found = primitive.bind(
      *inputs, **primitive.get_bind_params(equation.params)
    )
  return found if primitive.multiple_results else [found]


def _zero(name: str, inputs: Sequence[Any], aval: Any) -> Any:
  """What an equation with zeros among its inputs comes to, or None."""
  if name == "sub" and inputs[0] is inputs[1]:
    return _Zero(aval)
  zeros = [isinstance(value, _Zero) for value in inputs]
  if not any(zeros):
    return None
  if name in _KEEP_ZERO:
    return _Zero(aval)
  if name == "mul" and all(
    not _is_known(value) or np.isfinite(value).all() for value in inputs
  ):
    return _Zero(aval)
  if name in ("add", "sub") and zeros[1] and np.shape(inputs[0]) == aval.shape:
    return inputs[0]
  return None


# Operation on (gain, bias) of x, or on (known number, gain and bias of x).
_RIGHT: Mapping[str, Callable[..., tuple[Any, Any]]] = {
  "add": lambda gain, bias, c: (gain, bias + c),
  "sub": lambda gain, bias, c: (gain, bias - c),
  "mul": lambda gain, bias, c: (gain * c, bias * c),
  "div": lambda gain, bias, c: (gain / c, bias / c),
}
_LEFT: Mapping[str, Callable[..., tuple[Any, Any]]] = {
  "add": _RIGHT["add"],
  "sub": lambda gain, bias, c: (-gain, c - bias),
  "mul": _RIGHT["mul"],
}


def _affine(name: str, inputs: Sequence[Any], aval: Any) -> _Affine | None:
  """An equation as an affine map of an unknown array, if it is one."""
  if name == "neg":
    name, inputs = "mul", [inputs[0], np.float32(-1)]
  if aval.dtype != np.float32 or len(inputs) != 2:
    return None
  known = [_is_known(value) for value in inputs]
  rule = (_LEFT if known[0] else _RIGHT).get(name)
  if known[0] == known[1] or rule is None:
    return None
  x, c = inputs if known[1] else inputs[::-1]
  if isinstance(x, _Zero):
    x = x.array()
  if not isinstance(x, _Affine):
    x = _Affine(x, np.ones(()), np.zeros(()))
  if x.shape != aval.shape:  # the known number is the larger array
    return None
  with np.errstate(all="ignore"):  # looked at right below
    gain, bias = rule(x.gain, x.bias, np.asarray(c, np.float64))
  # What is infinite, or too large or small for the type, is left as it stands.
  limits = np.finfo(np.float32)
  least = np.where(gain == 0, limits.tiny, np.abs(gain)).min()
  largest = np.max([np.abs(gain).max(), np.abs(bias).max()])
  if not largest <= limits.max:  # or NaN
    return None
  return _Affine(x.x, gain, bias) if least >= limits.tiny else None


def _slice(x: Any, start: np.ndarray, params: Mapping[str, Any]) -> Any:
  """A gather of one window at a known place as a slice, or None."""
  numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
  if start.ndim != 1 or numbers.operand_batching_dims:
    return None
  first = [0] * x.ndim
  for axis, index in zip(numbers.start_index_map, start, strict=True):
    first[axis] = int(index)
  last = list(map(operator.add, first, sizes))
  # Outside of the array a gather clamps or fills; a slice would be refused.
  if min(first) < 0 or any(map(operator.gt, last, x.shape)):
    return None
  part = x if sizes == x.shape else jax.lax.slice(x, first, last)
  return jax.lax.squeeze(part, numbers.collapsed_slice_dims)
