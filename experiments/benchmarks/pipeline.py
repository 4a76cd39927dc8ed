"""Images a second of each stage between the image files and the network.

  python experiments/benchmarks/pipeline.py --json=out.json

Writes JPEG files of three sizes from a seed into a temporary folder, then
times decoding, resizing, `load_image`, augmentation, reading from the cache on
disk, and whole batches by both loaders without a cache, with one in memory and
with one on disk. All stages run in turn within one run, several times over, so
that their ratios hold on a noisy machine. Prints medians: images for each
second of the clock, and for each second of processor time (all threads), which
is what one core can do. Reading is from the system's cache but for the stage
"evicted".
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import platform
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Generator
from typing import cast

import numpy as np
import PIL
from PIL import Image, features

import metabin_jax
from metabin_jax.data import (
  array_source,
  augment,
  batches,
  images,
  pipeline,
  pixel_preparation,
)
from metabin_jax.data.pixel_cache import PixelCache
from metabin_jax.data.records import DataSet, Record

HEIGHT, WIDTH = 256, 128
# Market-1501's crops; crops of the network's size; crops of a 1080p camera.
FILES = {"128x64": (128, 64), "256x128": (256, 128), "400x160": (400, 160)}
BATCH = 64
WARM_ITERATIONS = 4


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--images", type=int, default=512, help="of each size")
  parser.add_argument("--iterations", type=int, default=16)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    results = measure(args, pathlib.Path(folder))
  for name, row in results["stages"].items():
    print(
      f"{name:48} {row['images_per_s']:9,.0f} images/s  "
      f"{row['images_per_cpu_s']:9,.0f} for a core  "
      f"({row['least_per_s']:,.0f} to {row['most_per_s']:,.0f})"
    )
  if args.json:
    args.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(args: argparse.Namespace, folder: pathlib.Path) -> dict:
  """Makes the files, then times every stage in turn."""
  stages: dict[str, Callable[[], tuple[int, float, float]]] = {}
  file_bytes = {}
  for size, (height, width) in FILES.items():
    records = write_files(folder / size, args.images, height, width, args.seed)
    file_bytes[size] = statistics.mean(
      os.path.getsize(record.path) for record in records
    )
    add_stages(stages, size, records, folder, args)
  taken: dict[str, list[tuple[float, float]]] = {name: [] for name in stages}
  for repeat in range(args.repeats + 1):
    for name, stage in stages.items():
      count, wall, processor = stage()
      if repeat:  # the first one warms the caches
        taken[name].append((count / wall, count / processor))
  return {
    "arguments": {k: str(v) for k, v in vars(args).items() if k != "json"},
    "processor": platform.processor() or platform.machine(),
    "cores": os.cpu_count(),
    "versions": {
      "metabin_jax": metabin_jax.__version__,
      "python": platform.python_version(),
      "numpy": np.__version__,
      "pillow": PIL.__version__,
      "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
      "tensorflow": pipeline.import_tensorflow().__version__,
    },
    "mean_file_bytes": file_bytes,
    "stages": {
      name: {
        "images_per_s": statistics.median(wall for wall, _ in runs),
        "least_per_s": min(wall for wall, _ in runs),
        "most_per_s": max(wall for wall, _ in runs),
        "images_per_cpu_s": statistics.median(cpu for _, cpu in runs),
      }
      for name, runs in taken.items()
    },
  }


def write_files(
  folder: pathlib.Path, count: int, height: int, width: int, seed: int
) -> list[Record]:
  """Soft shapes with a little noise, as JPEG of quality 90."""
  folder.mkdir()
  records = []
  for number in range(count):
    random = np.random.default_rng([seed, number])
    coarse = random.integers(0, 256, (12, 6, 3), np.uint8)
    soft = Image.fromarray(coarse).resize(
      (width, height), Image.Resampling.BICUBIC
    )
    noise = random.normal(0, 4, (height, width, 3))
    pixels = np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)
    path = folder / f"{number:05d}.jpg"
    Image.fromarray(pixels).save(path, quality=90)
    pid = number // 4
    records.append(Record(str(path), f"{pid}", number % 4, f"d{pid % 2}"))
  return records


def add_stages(stages: dict, size: str, records, folder, args) -> None:
  """Adds what is to be timed for files of one size."""
  paths = [record.path for record in records]
  cache = pixel_preparation.prepare(
    [DataSet(size, tuple(records))],
    height=HEIGHT,
    width=WIDTH,
    root=folder / "cache",
    say=print,
  )
  assert cache is not None
  decoded = [decode(path) for path in paths]
  stages[f"{size}: decode"] = each(decode, paths)
  stages[f"{size}: resize"] = each(resize, decoded)
  stages[f"{size}: load_image"] = each(load, paths)
  make = functools.partial(make_source, records)
  sources = {
    "array, 1 worker, none": make("array", 1, "none"),
    "array, 2 workers, none": make("array", 2, "none"),
    "array, 1 worker, disk": make("array", 1, "disk", cache),
    "array, 2 workers, disk": make("array", 2, "disk", cache),
    "tf, none": make("tf", None, "none"),
    "tf, disk": make("tf", None, "disk", cache),
  }
  if size == next(iter(FILES)):
    # These do not depend on the size of the files.
    resized = [load(path) for path in paths]
    add_augmentation(stages, resized, args.seed)
    stages["cache on disk: read"] = each(cache.load, paths)
    stages["cache on disk: read, evicted"] = evicted(cache, paths)
    stages["cache on disk: by a memory map"] = mapped(cache)
    sources |= {
      "array, 1 worker, memory": make("array", 1, "memory"),
      "array, 2 workers, memory": make("array", 2, "memory"),
    }
  for name, source in sources.items():
    stages[f"{size}: {name}"] = functools.partial(
      run_source, source, args.iterations
    )


def add_augmentation(stages: dict, resized: list, seed: int) -> None:
  """Flip and padded crop; the same with colour jitter."""
  for name, jitter in (("flip, crop", False), ("flip, crop, jitter", True)):
    config = augment.AugmentConfig(jitter=jitter)
    params = augment.draw(config, seed, "base", 0, len(resized))
    stages[f"augmentation: {name}"] = each(
      lambda pair, params=params: augment.apply_row(pair[1], params, pair[0]),
      list(enumerate(resized)),
    )


def decode(path: str) -> Image.Image:
  """Decodes a file, without resizing."""
  image = Image.open(path)
  image.load()
  return image


def resize(image: Image.Image) -> np.ndarray:
  """Resizes as `load_image` does."""
  return np.array(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def load(path: str) -> np.ndarray:
  """Reads a file as the loaders do."""
  return images.load_image(path, HEIGHT, WIDTH)


def each(function: Callable, things: list) -> Callable:
  """A stage that applies a function to each thing, in one thread."""

  def stage() -> tuple[int, float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    for thing in things:
      function(thing)
    return (
      len(things),
      time.perf_counter() - wall,
      time.process_time() - processor,
    )

  return stage


def evicted(cache: PixelCache, paths: list[str]) -> Callable:
  """Reading after the system was asked to forget the file."""
  read = each(cache.load, list(np.random.default_rng(0).permutation(paths)))

  def stage() -> tuple[int, float, float]:
    with open(cache.parts[0].folder / "images.bin", "rb") as file:
      os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return read()

  return stage


def mapped(cache: PixelCache) -> Callable:
  """Copying images out of a memory map instead, with the same checksum."""
  part = cache.parts[0]
  count = len(part.paths)
  pixels = np.memmap(
    part.folder / "images.bin",
    np.uint8,
    "r",
    offset=part.file.size - count * HEIGHT * WIDTH * 3,
    shape=(count, HEIGHT, WIDTH, 3),
  )
  return each(lambda row: zlib.crc32(pixels[row].copy()), list(range(count)))


def make_source(
  records: list[Record],
  loader: str,
  workers: int | None,
  kind: str,
  pixels: PixelCache | None = None,
) -> batches.Source:
  """A loader of base batches with flip and padded crop."""
  plan = batches.make_batch_plan(
    records,
    batch_size=BATCH,
    instances=4,
    seed=0,
    height=HEIGHT,
    width=WIDTH,
    first_base_updates=1,
  )
  if loader == "tf":
    return pipeline.TfSource(plan, workers=workers, pixels=pixels)
  source = array_source.ArraySource(
    plan, workers=workers, pixels=pixels, cache_images=kind == "memory"
  )
  if kind == "memory":
    for index in range(len(records)):
      source._load(index)  # filled, as it is after the first epoch
  return source


def run_source(
  source: batches.Source, iterations: int
) -> tuple[int, float, float]:
  """Times iterations while the threads work ahead, before and after alike."""
  steps = cast(Generator, source.iterate(0))
  for _ in range(WARM_ITERATIONS):
    next(steps)
  wall, processor = time.perf_counter(), time.process_time()
  count = 0
  for _ in range(iterations):
    count += len(next(steps).base[0].pid)
  taken = time.perf_counter() - wall, time.process_time() - processor
  steps.close()
  return (count, *taken)


if __name__ == "__main__":
  main()
