"""Loads batches with tf.data. The only file that imports TensorFlow here."""

from __future__ import annotations

import collections
import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from metabin_jax.data import augment, images
from metabin_jax.data.batches import BatchPlan, Draw, Iteration, check_range
from metabin_jax.data.pixel_cache import PixelCache
from metabin_jax.errors import UserError


def import_tensorflow() -> Any:
  """Imports TensorFlow and keeps it off GPUs and TPUs, which JAX needs.

  Returns:
    The module.

  Raises:
    UserError: if TensorFlow is not installed, or holds an accelerator already.
  """
  # Its start-up lines drown the training log; users can still set it.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # deprecations inside TensorFlow
      import tensorflow as tf
  except ImportError as error:
    raise UserError(
      f"the tf.data loader needs TensorFlow, which cannot be imported "
      f"({error}); run `pip install -e '.[data]'` in the repository's folder, "
      "or use the array source."
    ) from error
  for kind in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError as error:
      # Raised once TensorFlow has run anything.
      if tf.config.get_visible_devices(kind):
        raise UserError(
          f"TensorFlow already holds a {kind}; open the tf.data loader before "
          "other TensorFlow code, or use the array source."
        ) from error
  return tf


class TfSource:
  """Turns a plan into pixels with tf.data; same batches as `ArraySource`.

  TensorFlow decodes and enlarges plain JPEG and PNG files (`images.is_plain`),
  Pillow does the rest. Augmentation is the same NumPy code on the same numbers.

  Differs: enlarged pixels may be one grey level off `ArraySource`; pinned by
  tests/data/pipeline_test.py. With `pixels` they are the same.
  """

  def __init__(
    self,
    plan: BatchPlan,
    *,
    workers: int | None = None,
    prefetch: int = 2,
    pixels: PixelCache | None = None,
  ):
    """Prepares loading; nothing is read yet.

    Args:
      plan: what to load.
      workers: images decoded at a time; None lets tf.data choose.
      prefetch: batches worked on ahead, >= 1.
      pixels: resized images of the plan's pool on disk; None reads the image
        files.

    Raises:
      UserError: if TensorFlow is missing or a number is out of range.
      ValueError: if `pixels` have another size than the plan's.
    """
    if prefetch < 1 or (workers is not None and workers < 1):
      raise UserError(
        f"workers={workers} and prefetch={prefetch} are out of range; use at "
        "least 1."
      )
    if pixels is not None:
      pixels.check_size(plan.height, plan.width)
    self._tf = import_tensorflow()
    self._plan = plan
    self._paths = plan.paths
    self._pixels = pixels
    self._workers = workers or self._tf.data.AUTOTUNE
    sizes = {len(draw.rows) for draw in plan.draws(0)}
    if len(sizes) != 1:
      raise UserError(
        f"the batches of an iteration have {sorted(sizes)} images; the tf.data "
        "loader needs them equal, else use the array source."
      )
    (self._batch_size,) = sizes
    self._rows_here = len(plan.positions(plan.draws(0)[0]))
    self._prefetch = prefetch

  def iterate(self, start: int, stop: int | None = None) -> Iterator[Iteration]:
    """Yields iterations start, start + 1, ... before `stop` (None: for ever).

    Raises:
      UserError: if an image cannot be read, when its iteration is due.
    """
    check_range(start, stop)
    return self._iterate(start, stop)

  def _iterate(self, start: int, stop: int | None) -> Iterator[Iteration]:
    # tf.data runs the generator ahead on a thread of its own; it leaves here,
    # in order, what the pixels that come out belong to.
    queue: collections.deque[tuple[int, Draw, int]] = collections.deque()

    def generate():
      steps = itertools.count(start) if stop is None else range(start, stop)
      for step in steps:
        draws = self._plan.draws(step)
        for draw in draws:
          queue.append((step, draw, len(draws)))
          yield self._describe(draw)

    batches = self._dataset(generate).as_numpy_iterator()
    draws: list[Draw] = []
    arrays: list[np.ndarray] = []
    while True:
      try:
        arrays.append(next(batches))
      except StopIteration:
        return
      except self._tf.errors.OpError as error:
        if not queue:
          raise
        raise self._explain(queue[0][1], error) from error
      step, draw, count = queue.popleft()
      draws.append(draw)
      if len(draws) == count:
        yield self._plan.assemble(step, draws, arrays)
        draws, arrays = [], []

  def _describe(self, draw: Draw) -> tuple[np.ndarray, ...]:
    """Returns what TensorFlow needs to know of each row of a batch."""
    positions = self._plan.positions(draw)
    paths = [self._paths[index] for index in draw.rows[positions]]
    return (
      np.array([os.fsencode(path) for path in paths], object),
      np.array([self._is_plain(path) for path in paths]),
      np.full(len(paths), draw.stream.encode(), object),
      np.full(len(paths), draw.number, np.int64),
      positions,
    )

  def _is_plain(self, path: str) -> bool:
    """Whether TensorFlow is to read the file."""
    return self._pixels is None and images.is_plain(path)

  def _read(self, path: str) -> np.ndarray:
    """Reads an image without TensorFlow."""
    if self._pixels is not None:
      return self._pixels.load(path)
    return images.load_image(path, self._plan.height, self._plan.width)

  def _dataset(self, generate: Callable[[], Iterator]) -> Any:
    tf = self._tf
    types = (tf.string, tf.bool, tf.string, tf.int64, tf.int64)
    dataset = tf.data.Dataset.from_generator(
      generate,
      output_signature=tuple(tf.TensorSpec([None], dtype) for dtype in types),
    )
    # Rows, not batches, are spread over the threads: an even load.
    dataset = dataset.unbatch().map(
      self._load, num_parallel_calls=self._workers, deterministic=True
    )
    dataset = dataset.batch(self._rows_here).map(
      self._augment, num_parallel_calls=2, deterministic=True
    )
    return dataset.prefetch(self._prefetch)

  def _load(
    self, path: Any, plain: Any, stream: Any, number: Any, position: Any
  ) -> Any:
    tf, height, width = self._tf, self._plan.height, self._plan.width

    image = tf.cond(
      plain,
      lambda: decode(tf, tf.io.read_file(path), height, width),
      lambda: tf.numpy_function(
        lambda name: self._read(os.fsdecode(name)), [path], tf.uint8
      ),
    )
    image = tf.ensure_shape(image, [height, width, 3])
    return image, stream, number, position

  def _augment(
    self, pixels: Any, stream: Any, number: Any, positions: Any
  ) -> Any:
    plan = self._plan
    if plan.augmentation == augment.NO_AUGMENTATION:
      return pixels

    def change(
      pixels: np.ndarray, stream: bytes, number: int, positions: np.ndarray
    ) -> np.ndarray:
      params = augment.draw(
        plan.augmentation,
        plan.seed,
        stream.decode(),
        int(number),
        self._batch_size,
      )
      return augment.apply(pixels, augment.take(params, positions))

    # The rows of a batch agree in stream and number.
    return self._tf.numpy_function(
      change, [pixels, stream[0], number[0], positions], self._tf.uint8
    )

  def _explain(self, draw: Draw, error: Exception) -> UserError:
    """Finds the file behind an error, which TensorFlow does not name."""
    for index in draw.rows:
      try:
        self._read(self._paths[index])
      except UserError as found:
        return found
    return UserError(
      f"TensorFlow cannot read an image of {draw.stream} batch {draw.number}, "
      f"though Pillow can ({str(error).splitlines()[0]}); use "
      "the array source."
    )


def decode(tf: Any, data: Any, height: int, width: int) -> Any:
  """Decodes and resizes one plain image as Pillow does, within rounding.

  Args:
    tf: the TensorFlow module.
    data: string tensor, a JPEG or 8-bit PNG file.
    height: rows of the result, in pixels.
    width: columns of the result, in pixels.

  Returns:
    uint8 tensor [height, width, 3].
  """
  image = tf.cond(
    tf.io.is_jpeg(data),
    # The default DCT is faster and several grey levels off.
    lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
    lambda: tf.io.decode_png(data, channels=3),
  )

  def enlarge(image: Any, size: tuple[Any, Any]) -> Any:
    resized = tf.image.resize(image, size, method="bicubic")
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)

  def shrink() -> Any:
    # TensorFlow's low-pass filter is right but takes twice Pillow's time.
    return tf.numpy_function(
      lambda pixels: images.resize(pixels, height, width), [image], tf.uint8
    )

  # Pillow resizes columns, clips to 8 bits, then resizes rows. Enlarging both
  # ways at once overshoots differently at edges, by up to 8 grey levels.
  size = tf.shape(image)[:2]
  return tf.cond(
    tf.reduce_all(size == [height, width]),
    lambda: image,
    lambda: tf.cond(
      tf.reduce_any(size > [height, width]),
      shrink,
      lambda: enlarge(enlarge(image, (size[0], width)), (height, width)),
    ),
  )
