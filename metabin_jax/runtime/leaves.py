"""A state as named arrays on the host, and back.

Any pytree (flax dataclasses, optax tuples, dicts, `None`) becomes a flat
mapping from a path, such as ("opt_params", "0", "trace", "conv"), to a NumPy
array. The structure is not stored: it comes from the abstract state on the way
back, so a checkpoint does not hang on the versions of flax and optax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.runtime.digest import Path

_SHOWN_DIFFERENCES = 3


class Leaf(NamedTuple):
  """An array on the host and what it was.

  Attributes:
    value: the array; for a PRNG key, its uint32 key data.
    kind: dtype as text, e.g. "bfloat16", or "key<fry>" for a PRNG key.
    key_impl: name of the key's generator; None for ordinary arrays.
  """

  value: np.ndarray
  kind: str
  key_impl: str | None = None


def flatten_state(state: Any) -> dict[Path, Leaf]:
  """Names every leaf of a pytree and brings it to the host.

  Args:
    state: arrays, NumPy arrays, Python numbers and typed PRNG keys in any
      registered containers. `None` holds no leaf.

  Returns:
    Leaves by path. Bits are kept as they are.

  Raises:
    ValueError: if the state is a bare array, holds nothing, holds something
      that is no array, or two leaves get the same name.
  """
  leaves: dict[Path, Leaf] = {}
  names: set[str] = set()
  for keys, value in jax.tree_util.tree_flatten_with_path(state)[0]:
    path = _path(keys)
    # Orbax joins the parts with dots, so "a.b" and "a" > "b" would collide.
    if not path or ".".join(path) in names:
      raise ValueError(
        f"leaf {'/'.join(path)!r} needs a name of its own; put the arrays of "
        "the state into a dict or dataclass with distinct names."
      )
    names.add(".".join(path))
    leaves[path] = _to_host(path, value)
  if not any(leaf.value.size for leaf in leaves.values()):
    raise ValueError("the state holds no numbers; there is nothing to save.")
  return leaves


def nest(leaves: Mapping[Path, np.ndarray]) -> dict[str, Any]:
  """Nested dicts with the arrays at their paths."""
  nested: dict[str, Any] = {}
  for path, value in leaves.items():
    inner = nested
    for part in path[:-1]:
      inner = inner.setdefault(part, {})
    inner[path[-1]] = value
  return nested


def unnest(nested: Mapping[str, Any]) -> dict[Path, np.ndarray]:
  """The inverse of `nest`."""
  flat: dict[Path, np.ndarray] = {}
  for key, value in nested.items():
    if isinstance(value, Mapping):
      for path, leaf in unnest(value).items():
        flat[(key, *path)] = leaf
    else:
      flat[(key,)] = value
  return flat


def fill(abstract_state: Any, leaves: Mapping[Path, Leaf], what: str) -> Any:
  """Puts saved leaves into the structure of `abstract_state`.

  Args:
    abstract_state: pytree that gives structure, shapes and dtypes: arrays,
      `jax.ShapeDtypeStruct`, NumPy arrays, Python numbers.
    leaves: from `flatten_state`.
    what: begins the error message, e.g. "checkpoint step 20 in runs/a".

  Returns:
    The same structure. NumPy arrays stay NumPy arrays, Python numbers become
    Python numbers, all else is placed on the default device.

  Raises:
    UserError: if names, shapes or dtypes differ; the message says which.
  """
  flat, treedef = jax.tree_util.tree_flatten_with_path(abstract_state)
  wanted = {_path(keys): leaf for keys, leaf in flat}
  differences = _differences(wanted, leaves)
  if differences:
    more = len(differences) - _SHOWN_DIFFERENCES
    shown = "; ".join(differences[:_SHOWN_DIFFERENCES])
    raise UserError(
      f"{what} belongs to another model or optimiser: {shown}"
      + (f"; and {more} more" if more > 0 else "")
      + ". Use the configuration that it was saved with, or another folder."
    )
  return jax.tree_util.tree_unflatten(
    treedef, [_place(path, leaves[path], leaf) for path, leaf in wanted.items()]
  )


def _differences(
  wanted: Mapping[Path, Any], leaves: Mapping[Path, Leaf]
) -> list[str]:
  found = []
  for path, leaf in wanted.items():
    name = "/".join(path)
    if path not in leaves:
      found.append(f"{name} is not in it")
      continue
    shape, kind = _shape_and_kind(leaf)
    saved = leaves[path]
    saved_shape = saved.value.shape
    if saved.key_impl is not None:
      # Key data carry one axis more than the keys.
      saved_shape = saved_shape[:-1]
    if (shape, kind) != (saved_shape, saved.kind):
      found.append(
        f"{name} is {saved.kind}{list(saved_shape)} there and "
        f"{kind}{list(shape)} here"
      )
  found += [
    f"{'/'.join(path)} is in it but not in this model"
    for path in leaves
    if path not in wanted
  ]
  return found


def _shape_and_kind(leaf: Any) -> tuple[tuple[int, ...], str]:
  if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
    return tuple(leaf.shape), str(leaf.dtype)
  value = np.asarray(leaf)
  return value.shape, str(value.dtype)


def _is_key(leaf: Any) -> bool:
  return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(
    leaf.dtype, jax.dtypes.prng_key
  )


def _to_host(path: Path, value: Any) -> Leaf:
  if _is_key(value):
    data = np.asarray(jax.random.key_data(value))
    return Leaf(data, str(value.dtype), str(jax.random.key_impl(value)))
  host = np.asarray(value)
  if host.dtype.kind in "OUSMm":
    raise ValueError(
      f"leaf {'/'.join(path)!r} is {type(value).__name__}, not an array of "
      "numbers; put it into the metadata instead."
    )
  return Leaf(host, str(host.dtype))


def _place(path: Path, saved: Leaf, like: Any) -> Any:
  if saved.key_impl is not None:
    data = jax.device_put(saved.value)
    return jax.random.wrap_key_data(data, impl=saved.key_impl)
  if isinstance(like, np.ndarray | np.generic):
    return saved.value[()] if isinstance(like, np.generic) else saved.value
  if isinstance(like, bool | int | float | complex):
    return saved.value.item()
  if jax.dtypes.canonicalize_dtype(saved.value.dtype) != saved.value.dtype:
    raise UserError(
      f"{'/'.join(path)} was saved as {saved.kind}, which JAX would cut to 32 "
      "bits; set JAX_ENABLE_X64=1 as in the run that saved it."
    )
  # No aliasing: the array may be donated to a step later.
  return jax.device_put(saved.value, may_alias=False)


def _path(keys: tuple[Any, ...]) -> Path:
  parts = []
  for key in keys:
    for attribute in ("key", "name", "idx"):
      if hasattr(key, attribute):
        parts.append(str(getattr(key, attribute)))
        break
    else:
      parts.append(str(key))
  return tuple(parts)
