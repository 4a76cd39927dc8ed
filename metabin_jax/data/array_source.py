"""Loads batches with Pillow and threads, without TensorFlow."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from metabin_jax.data import augment, images
from metabin_jax.data.batches import BatchPlan, Draw, Iteration, check_range
from metabin_jax.data.pixel_cache import PixelCache
from metabin_jax.errors import UserError

CACHE_BYTES = 2 * 2**30


class ArraySource:
  """Turns a plan into pixels, a few iterations ahead of their use."""

  def __init__(
    self,
    plan: BatchPlan,
    *,
    workers: int | None = None,
    cache_images: bool | None = None,
    prefetch: int = 2,
    cache_bytes: int = CACHE_BYTES,
    pixels: PixelCache | None = None,
  ):
    """Prepares loading; nothing is read yet.

    Args:
      plan: what to load.
      workers: number of threads; None for one a processor, at most 16.
      cache_images: keep every resized image in memory once read; None does so
        if all of them fit into `cache_bytes` and there are no `pixels`.
      prefetch: iterations worked on ahead of the one being waited for, >= 0.
      cache_bytes: budget for `cache_images=None`; default 2 GiB.
      pixels: resized images of the plan's pool on disk; None reads the image
        files.

    Raises:
      UserError: for a number out of range.
      ValueError: if `pixels` have another size than the plan's.
    """
    if workers is None:
      workers = min(16, os.cpu_count() or 1)
    if workers < 1 or prefetch < 0:
      raise UserError(
        f"workers={workers} and prefetch={prefetch} are out of range; use at "
        "least 1 and 0."
      )
    if pixels is not None:
      pixels.check_size(plan.height, plan.width)
    self._plan = plan
    self._paths = plan.paths
    self._workers = workers
    self._prefetch = prefetch
    self._pixels = pixels
    shape = (len(self._paths), plan.height, plan.width, 3)
    if cache_images is None:
      fits = int(np.prod(shape, dtype=np.int64)) <= cache_bytes
      cache_images = fits and pixels is None
    # np.empty takes memory page by page, as images arrive.
    self._cache = np.empty(shape, np.uint8) if cache_images else None
    self._cached = np.zeros(shape[0], bool)

  def iterate(self, start: int, stop: int | None = None) -> Iterator[Iteration]:
    """Yields iterations; closing the iterator early ends its threads.

    Args:
      start: first step; any step can be the first.
      stop: step after the last; None goes on for ever.

    Yields:
      The iterations in order, the same whatever `start`, workers or cache.

    Raises:
      UserError: if an image cannot be read, when its iteration is due.
    """
    check_range(start, stop)
    return self._iterate(start, stop)

  def _iterate(self, start: int, stop: int | None) -> Iterator[Iteration]:
    steps = itertools.count(start) if stop is None else iter(range(start, stop))
    pending: collections.deque[_Pending] = collections.deque()
    executor = ThreadPoolExecutor(self._workers, "metabin-images")
    try:
      for step in itertools.islice(steps, self._prefetch + 1):
        pending.append(self._submit(executor, step))
      while pending:
        step, draws, arrays, futures = pending.popleft()
        for future in futures:
          future.result()
        for following in itertools.islice(steps, 1):
          pending.append(self._submit(executor, following))
        yield self._plan.assemble(step, draws, arrays)
    finally:
      executor.shutdown(wait=True, cancel_futures=True)

  def _submit(self, executor: ThreadPoolExecutor, step: int) -> _Pending:
    draws = self._plan.draws(step)
    arrays, futures = [], []
    for draw in draws:
      params, positions = self._plan.params(draw), self._plan.positions(draw)
      shape = (len(positions), self._plan.height, self._plan.width, 3)
      out = np.empty(shape, np.uint8)
      arrays.append(out)
      futures += [
        executor.submit(self._fill, row, int(draw.rows[k]), params, int(k))
        for row, k in zip(out, positions, strict=True)
      ]
    return step, draws, arrays, futures

  def _fill(
    self, out: np.ndarray, index: int, params: augment.AugmentParams, row: int
  ) -> None:
    out[:] = augment.apply_row(self._load(index), params, row)

  def _load(self, index: int) -> np.ndarray:
    if self._cache is not None and self._cached[index]:
      return self._cache[index]
    path = self._paths[index]
    if self._pixels is not None:
      image = self._pixels.load(path)
    else:
      image = images.load_image(path, self._plan.height, self._plan.width)
    if self._cache is not None:
      # Two threads may read one image; both write the same bytes, and the
      # flag is set after them.
      self._cache[index] = image
      self._cached[index] = True
    return image


_Pending = tuple[int, tuple[Draw, ...], list[np.ndarray], list[Future]]
