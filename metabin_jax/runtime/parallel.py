"""One step on many devices: state on each of them, rows of a batch split.

The step is the same pure function under all three runners:

* "jit": arrays stay whole, the compiler splits the work (the default);
* "shard_map": each device sees its rows, see ops/collectives.py;
* "pmap": the same, by JAX's older interface.

Which rows of a batch a device gets hangs on its place among the devices only,
so the numbers are those of one device up to the order of sums.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from metabin_jax.errors import UserError
from metabin_jax.ops import collectives

PyTree = Any
# (state, batch, ...) -> (state, metrics)
Step = Callable[..., tuple[Any, dict[str, jax.Array]]]

RUNNERS = ("jit", "shard_map", "pmap")
MOMENTS = ("global", "device")
# Name of the leaf of a state that has a row for each image of a data set.
_SHARED = "multilabels"
_AXES = {
  "global": collectives.BATCH,
  "device": collectives.BATCH_DEVICE_MOMENTS,
}


def from_config(section: Any) -> Runner:
  """The runner that the section `parallel` of a configuration describes.

  Raises:
    UserError: if there are fewer devices.
  """
  there = jax.devices()
  count = section.devices or len(there)
  if count > len(there):
    pretend = ""
    if there[0].platform == "cpu":
      pretend = (
        " To try several on a CPU, set "
        f"XLA_FLAGS=--xla_force_host_platform_device_count={count}."
      )
    raise UserError(
      f"parallel.devices is {count}, and there are {len(there)} "
      f"({there[0].device_kind}); set it to at most that, or to 0 for all."
      + pretend
    )
  if jax.process_count() > 1:
    if count < len(there):
      raise UserError(
        f"parallel.devices is {count}, and the hosts have {len(there)}; "
        "several hosts use all of them: set it to 0."
      )
    if section.runner == "pmap":
      raise UserError(
        "parallel.runner is 'pmap', which is for one host; use 'jit' or "
        "'shard_map'."
      )
  return Runner(section.runner, there[:count], moments=section.batch_moments)


class Runner:
  """Compiles steps for a number of devices, and lays their arrays out.

  Attributes:
    kind: "jit", "shard_map" or "pmap".
    devices: that share each batch, in the order of its rows.
    moments: "global" or "device".
  """

  def __init__(
    self,
    kind: str = "jit",
    devices: Sequence[jax.Device] | None = None,
    *,
    moments: str = "global",
  ):
    """Names the devices; nothing is placed yet.

    Args:
      kind: one of `RUNNERS`.
      devices: of one kind; None takes the first of this process.
      moments: "global": batch norm by the moments of the whole batch;
        "device": by those of each device's rows ("shard_map" and "pmap" only).

    Raises:
      ValueError: for an unknown name, or moments that "jit" does not have.
    """
    if kind not in RUNNERS or moments not in MOMENTS:
      raise ValueError(
        f"runner is {kind!r} and moments {moments!r}, want one of {RUNNERS} "
        f"and of {MOMENTS}."
      )
    if kind == "jit" and moments != "global":
      raise ValueError("the runner 'jit' sees whole batches only.")
    self.kind = kind
    self.moments = moments
    self.devices = tuple(
      jax.local_devices()[:1] if devices is None else devices
    )
    self._axis = _AXES[moments]
    mesh = Mesh(np.array(self.devices), (self._axis,))
    self._mesh = mesh
    self._whole = NamedSharding(mesh, PartitionSpec())
    self._split = NamedSharding(mesh, PartitionSpec(self._axis))

  def check_rows(self, batches: Sequence[tuple[int, str]]) -> None:
    """Refuses batches that the devices cannot share equally.

    Args:
      batches: images of each kind of batch, and its name.

    Raises:
      UserError: says which numbers would do.
    """
    count = len(self.devices)
    common = math.gcd(*(rows for rows, _ in batches))
    for rows, what in batches:
      if rows % count == 0:
        continue
      most = max(n for n in range(1, count) if common % n == 0)
      mend = f"set parallel.devices to {most}"
      if jax.process_count() > 1:
        mend = f"take hosts with {most} devices in all"
      raise UserError(
        f"{what} has {rows} images, which {count} devices cannot share "
        f"equally; {mend}, or change data.batch_size."
      )

  def compile(self, step: Step, name: str = "step") -> Step:
    """Makes a step run on all devices; the state passed in is consumed.

    Args:
      step: (state, batch, ...) -> (state, metrics), pure, of whole batches.
      name: of the program, in profiles and for `pace.Pace`.

    Returns:
      The same for a state from `place` and batches from `split`; it compiles
      once for each shape.
    """

    def named(state, *batches):
      return step(state, *batches)

    named.__name__ = named.__qualname__ = name
    if self.kind == "jit":
      return functools.partial(self._run_whole, {}, named)
    return functools.partial(self._run_mapped, {}, named)

  def place(self, state: PyTree) -> PyTree:
    """Lays a state out on every device.

    On one device the arrays are those of `state`, if they were there already:
    a step of `compile` then consumes them. Under "jit" the devices of one
    process share the rows of what grows with the data (`_SHARED`), if their
    number divides it; the other runners keep it whole on each.
    """
    return jax.device_put(state, self._layout(state))

  def any_flag(self) -> Callable[[bool], jax.Array]:
    """any(flag) -> whether some process called it with True, as an array."""
    program = jax.jit(jnp.any, out_shardings=self._whole)
    index = jax.process_index()
    count = sum(device.process_index == index for device in self.devices)

    def ask(flag: bool) -> jax.Array:
      flags = np.full(count, flag)
      return program(jax.make_array_from_process_local_data(self._split, flags))

    return ask

  def split(self, batch: PyTree) -> PyTree:
    """Lays out a batch, or this process's rows of one.

    Args:
      batch: arrays [B / processes, ...] on the host.

    Returns:
      Arrays for the functions of `compile`: [B, ...], and for "pmap"
      [devices, B / devices, ...].
    """

    def lay_out(rows):
      rows = np.asarray(rows)
      if self.kind == "pmap":
        rows = rows.reshape(len(self.devices), -1, *rows.shape[1:])
      return jax.make_array_from_process_local_data(self._split, rows)

    return jax.tree.map(lay_out, batch)

  def _layout(self, state):
    """The sharding of every leaf of a state."""
    shares = self.kind == "jit" and jax.process_count() == 1

    def choose(path, leaf):
      fits = shares and path and getattr(path[-1], "name", "") == _SHARED
      if fits and leaf.shape[0] % len(self.devices) == 0:
        return self._split
      return self._whole

    return jax.tree_util.tree_map_with_path(choose, state)

  def _run_whole(self, programs, step, state, *batches):
    if not programs:
      layout = self._layout(state)
      same = all(leaf is self._whole for leaf in jax.tree.leaves(layout))
      programs["only"] = jax.jit(
        step,
        donate_argnums=0,
        out_shardings=self._whole if same else (layout, self._whole),
      )
    return programs["only"](state, *batches)

  def _run_mapped(self, programs, step, state, *batches):
    program = programs.get(len(batches))
    if program is None:
      program = self._map(step, len(batches))
      programs[len(batches)] = program
    return program(state, *batches)

  def _map(self, step, num_batches):
    if self.kind == "pmap":
      return jax.pmap(
        step,
        axis_name=self._axis,
        in_axes=(None,) + (0,) * num_batches,
        out_axes=None,
        devices=self.devices,
        donate_argnums=0,
      )
    whole, rows = PartitionSpec(), PartitionSpec(self._axis)
    # check_vma: what comes out of an all-gather counts as different on every
    # device, though running statistics made of it are the same.
    mapped = jax.shard_map(
      step,
      mesh=self._mesh,
      in_specs=(whole,) + (rows,) * num_batches,
      out_specs=whole,
      check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0)
