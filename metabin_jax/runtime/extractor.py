"""Embeddings of images that a program holds: the network behind one call."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from metabin_jax.data import pixels
from metabin_jax.errors import UserError
from metabin_jax.evaluation import extract
from metabin_jax.runtime import scoring

_CHUNK = 1024  # images in memory at a time


class Extractor:
  """Embeds images by a trained network.

  `Extractor.from_checkpoint("runs/a")(["1.jpg", "2.jpg"])` gives float32
  [2, D]. Two images show the same person the more likely, the larger the cosine
  of their embeddings; how large is large depends on the network (`metabin
  calibrate`).

  Attributes:
    dim: D.
    height: rows that images are resized to, in pixels.
    width: columns.
    batch_size: images of one call of the network.
    flip: whether mirrored images are added.
    card: what the checkpoint says of itself, JSON data: input, embedding,
      training data and their terms.
    run: the loaded network.
  """

  def __init__(
    self,
    run: scoring.LoadedRun,
    *,
    batch_size: int = 64,
    flip: bool | None = None,
    devices: Sequence[jax.Device] | None = None,
    workers: int | None = None,
  ):
    """Binds a loaded run.

    Args:
      run: from `scoring.load_run`.
      batch_size: images of one call of the network; another size rounds
        differently, by some 1e-6 of an embedding's length.
      flip: add the embedding of the mirrored image, see
        `extract.make_embedder`; None does as the run is configured.
      devices: that share each batch; None takes the first.
      workers: threads that read files; None lets Python choose.

    Raises:
      UserError: for a number that is none, or no device.
    """
    _check_count("batch_size", batch_size)
    if workers is not None:
      _check_count("workers", workers)
    if devices is not None and not len(devices):
      raise UserError(
        "devices is empty; name at least one of jax.local_devices(), or None "
        "for the first."
      )
    self.run = run
    self.height = run.config.data.height_px
    self.width = run.config.data.width_px
    self.dim = run.card["embedding"]["dim"]
    self.batch_size = batch_size
    self.flip = run.config.eval.flip if flip is None else flip
    self.card = {
      **run.card,
      "embedding": {**run.card["embedding"], "flip": self.flip},
    }
    self._workers = workers
    self._devices = devices
    self._embed = extract.make_embedder(
      run.network,
      run.variables,
      batch_size,
      flip=self.flip,
      devices=devices,
    )

  @classmethod
  def from_checkpoint(
    cls,
    workdir: str | os.PathLike[str],
    *,
    step: int | None = None,
    **options: Any,
  ) -> Extractor:
    """Loads the newest good checkpoint of a run.

    Args:
      workdir: folder of `metabin train` or `metabin convert`.
      step: another checkpoint than the newest.
      **options: as for the constructor.

    Returns:
      The extractor.

    Raises:
      UserError: if there is no run or no good checkpoint.
    """
    return cls(scoring.load_run(pathlib.Path(workdir), step), **options)

  def with_run(self, run: scoring.LoadedRun) -> Extractor:
    """Another extractor, for another network, with the choices of this one."""
    return Extractor(
      run,
      batch_size=self.batch_size,
      flip=self.flip,
      devices=self._devices,
      workers=self._workers,
    )

  def __call__(self, images: Any, *, order: str = "RGB") -> np.ndarray:
    """Embeds images.

    Args:
      images: a sequence of paths, PIL images and uint8 arrays [H, W, 3] in
        0..255, of any sizes; an array [N, H, W, 3]; or one path or PIL image.
        Channels come last; of an array [3, H, 3] nobody can tell whether they
        do, and it is taken as [H, W, 3].
      order: of the channels of arrays: "RGB", or "BGR" as OpenCV reads.

    Returns:
      float32 [N, D]; an image's row does not depend on the others.

    Raises:
      UserError: for images of another type, shape or range, and for files that
        cannot be read.
    """
    batch = list(pixels.split_batch(images))
    if not batch:
      return np.zeros((0, self.dim), np.float32)

    def read(image: Any) -> np.ndarray:
      return pixels.to_pixels(image, self.height, self.width, order=order)

    parts = []
    with ThreadPoolExecutor(self._workers) as pool:
      for start in range(0, len(batch), _CHUNK):
        read_ones = pool.map(read, batch[start : start + _CHUNK])
        parts.append(self._embed(np.stack(list(read_ones))))
    return np.concatenate(parts)

  def embed_files(
    self, paths: Sequence[str], skip: bool = False
  ) -> tuple[np.ndarray, list[str | None]]:
    """Embeds image files, all in memory at once.

    Args:
      paths: the files.
      skip: leave out those that cannot be read.

    Returns:
      (float32 [M, D] of those that could be read, for each path why it could
      not, or None).

    Raises:
      UserError: for a file that cannot be read, unless `skip`.
    """

    def read(path: str) -> np.ndarray | UserError:
      try:
        return pixels.to_pixels(path, self.height, self.width)
      except UserError as error:
        if not skip:
          raise
        return error

    with ThreadPoolExecutor(self._workers) as pool:
      found = list(pool.map(read, paths))
    good = [image for image in found if isinstance(image, np.ndarray)]
    vectors = np.zeros((0, self.dim), np.float32)
    if good:
      vectors = self._embed(np.stack(good))
    reasons = [
      None if isinstance(image, np.ndarray) else str(image) for image in found
    ]
    return vectors, reasons


def _check_count(name: str, value: Any) -> None:
  whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
  if not whole or value < 1:
    raise UserError(f"{name} is {value!r}; give a whole number from 1.")
