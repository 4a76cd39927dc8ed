"""How fast a session of training goes, and what holds it up.

Counts the programs that are compiled, the images that are seen and the time
that the devices wait for them. Nothing here touches the numbers of a run: two
runs that are bit-identical differ in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax

Item = TypeVar("Item")
_COMPILED = "/jax/core/compile/backend_compile_duration"
# What JAX calls every program of pmap, which only steps are made with here.
_PMAP_NAME = "_fun"


class Pace:
  """Measures a session, from its first image to its last; to be opened.

  Attributes:
    names: of the programs that count, as `jax.jit` names them; all those of
      `jax.pmap` count as "pmap".
  """

  def __init__(
    self, names: Iterable[str], clock: Callable[[], float] = time.monotonic
  ):
    """Starts at nothing.

    Args:
      names: of the step functions.
      clock: seconds, for tests.
    """
    self.names = frozenset(names) | {"pmap"}
    self._clock = clock
    self._programs: Counter[str] = Counter()
    self._compile_s = 0.0
    self._first: Counter[str] | None = None
    self._iterations = 0
    self._images = 0
    self._waited_s = 0.0
    self._began = clock()
    # Of the newest iteration: when the devices were done with it.
    self._pending: Future[float] | None = None
    self._watcher = ThreadPoolExecutor(1, "metabin-pace")

  def __enter__(self) -> Pace:
    """Listens to JAX's word of each compilation."""
    jax.monitoring.register_event_duration_secs_listener(self._hear)
    return self

  def __exit__(self, kind: object, *unused: object) -> None:
    """Listens no longer; without an error, waits for the last iteration."""
    self._watcher.shutdown(wait=kind is None, cancel_futures=kind is not None)
    jax.monitoring.unregister_event_duration_listener(self._hear)

  def fetch(self, source: Iterable[Item]) -> Iterator[Item]:
    """Passes items on, and takes the time that the devices lack each.

    A loop may well wait for an item while the devices still compute: what
    counts begins when they are done with all they were given.
    """
    items = iter(source)
    while True:
      asked = self._clock()
      try:
        item = next(items)
      except StopIteration:
        return
      came = self._clock()
      if self._pending is not None and self._pending.done():
        self._waited_s += max(0.0, came - max(asked, self._pending.result()))
      yield item

  def dispatched(self, images: int, results: Any) -> None:
    """Ends an iteration; the clock runs from the end of the first.

    Args:
      images: that it has seen, on all hosts.
      results: arrays that it computes.
    """
    if self._first is None:
      # Compiling would hide all else.
      jax.block_until_ready(results)
      self._first, self._began = self._programs.copy(), self._clock()
    else:
      self._iterations += 1
      self._images += images
    self._pending = self._watcher.submit(self._when_ready, results)

  def report(self) -> dict[str, Any]:
    """What was measured.

    Returns:
      `programs`: compiled, or read from the cache on disk, by name;
      `late_programs`: those of them after the first iteration, which should be
      0; `compile_s`: seconds for all of them; `iterations`: after the first;
      `seconds`, `images_per_s` and `waiting_share` (of the time, that the
      devices had nothing to do for want of data, 0 to 1): of these iterations,
      None without any.
    """
    ended = self._began if self._pending is None else self._pending.result()
    seconds = ended - self._began
    timed = bool(self._iterations) and seconds > 0
    first = self._programs if self._first is None else self._first
    return {
      "programs": dict(self._programs),
      "late_programs": self._programs.total() - first.total(),
      "compile_s": self._compile_s,
      "iterations": self._iterations,
      "seconds": seconds if timed else None,
      "images_per_s": self._images / seconds if timed else None,
      "waiting_share": self._waited_s / seconds if timed else None,
    }

  def _when_ready(self, results: Any) -> float:
    jax.block_until_ready(results)
    return self._clock()

  def _hear(self, event: str, duration_secs: float, **details: Any) -> None:
    name = str(details.get("fun_name", ""))
    name = name.removeprefix("jit(").removesuffix(")")
    if name == _PMAP_NAME:
      name = "pmap"
    if event == _COMPILED and name in self.names:
      self._programs[name] += 1
      self._compile_s += duration_secs


def describe(report: dict[str, Any]) -> str:
  """One line for a report.

  Args:
    report: from `Pace.report`.

  Returns:
    For example "2 programs compiled or loaded in 31.2 s, none after the first
    iteration; 312 images/s, 0.4 % of the time waiting for data".
  """
  count, late = sum(report["programs"].values()), report["late_programs"]
  line = (
    f"{count} program{'s' * (count != 1)} compiled or loaded in "
    f"{report['compile_s']:.1f} s, {late or 'none'} after the first iteration"
  )
  if report["seconds"] is not None:
    line += (
      f"; {report['images_per_s']:.0f} images/s, "
      f"{100 * report['waiting_share']:.1f} % of the time waiting for data"
    )
  return line
