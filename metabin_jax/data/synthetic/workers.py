"""Renders many pictures at once, in other processes where that pays."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import process
from pathlib import Path

from PIL import Image

from metabin_jax.data.synthetic import render
from metabin_jax.data.synthetic.listing import Shot
from metabin_jax.data.synthetic.presets import Preset

_CHUNK = 32
# Below this many pictures, starting processes takes longer than it saves.
_FEW = 600


def default_workers(shots: int) -> int:
  """Returns how many processes to use: the cores this process may run on."""
  if shots < _FEW:
    return 1
  if hasattr(os, "sched_getaffinity"):
    cores = len(os.sched_getaffinity(0))
  else:
    cores = os.cpu_count() or 1
  return min(cores, 16)


def render_all(
  preset: Preset,
  shots: list[Shot],
  folder: Path,
  workers: int,
  report: Callable[[int], None],
) -> None:
  """Renders the shots into JPEG files below `folder`.

  Args:
    preset: seed, size, JPEG quality.
    shots: what to render.
    folder: exists; subfolders are made.
    workers: number of processes; 1 renders in this one.
    report: called with the number of pictures since the last call.
  """
  for parent in sorted({os.path.dirname(shot.path) for shot in shots}):
    (folder / parent).mkdir(parents=True, exist_ok=True)
  chunks = [shots[i : i + _CHUNK] for i in range(0, len(shots), _CHUNK)]
  if workers > 1:
    chunks = _render_in_pool(preset, chunks, folder, workers, report)
  for chunk in chunks:
    report(render_chunk(preset, chunk, folder))


def render_chunk(preset: Preset, shots: list[Shot], folder: Path) -> int:
  """Renders some shots in this process; returns their number."""
  for shot in shots:
    pixels = render.render_image(
      preset, shot.domain, shot.pid, shot.camera, shot.frame
    )
    Image.fromarray(pixels).save(
      folder / shot.path, "JPEG", quality=preset.jpeg_quality
    )
  return len(shots)


def _render_in_pool(preset, chunks, folder, workers, report) -> list:
  """Renders what it can in a pool; returns the chunks left undone."""
  # Never fork: JAX has threads running, and a forked child can hang on them.
  context = multiprocessing.get_context("spawn")
  undone = dict(enumerate(chunks))
  try:
    with concurrent.futures.ProcessPoolExecutor(
      min(workers, len(chunks)), mp_context=context
    ) as pool:
      with _hidden_main_module():
        futures = {
          pool.submit(render_chunk, preset, chunk, folder): number
          for number, chunk in undone.items()
        }
      try:
        for future in concurrent.futures.as_completed(futures):
          report(future.result())
          del undone[futures[future]]
      except BaseException:
        # Leaving the block waits for the pool: let it not finish the queue.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
  except (process.BrokenProcessPool, ImportError, PermissionError):
    # No semaphores in this sandbox, or a worker was killed: go on alone.
    pass
  return list(undone.values())


@contextlib.contextmanager
def _hidden_main_module() -> Iterator[None]:
  """Keeps spawned workers from running the caller's script again.

  A spawned process imports the parent's main module. That fails for code
  piped into `python -`, and restarts the whole run for a script without an
  `if __name__ == "__main__"` guard. Our workers need nothing from it.
  """
  main = sys.modules["__main__"]
  sys.modules["__main__"] = types.ModuleType("__main__")
  try:
    yield
  finally:
    sys.modules["__main__"] = main
