"""Search in a large gallery: time, memory, and what adding images costs.

  python experiments/benchmarks/search.py --json=FILE

Makes an index of random unit vectors, searches for noisy copies of some of its
rows, adds images, searches again, and ends an adding process by force.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pathlib
import resource
import signal
import tempfile
import time

import numpy as np
import record

from metabin_jax.evaluation.embedding_file import Embeddings
from metabin_jax.runtime import gallery_index

_PART = 50_000  # rows in memory at a time while the index is made


def main() -> None:
  """Measures, prints a table, and writes JSON."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--rows", type=int, default=1_000_000)
  parser.add_argument("--dim", type=int, default=1792)
  parser.add_argument("--queries", type=int, default=100)
  parser.add_argument("--top", type=int, default=10)
  parser.add_argument("--added", type=int, default=1_000)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--dtype", default="float16")
  parser.add_argument("--folder", help="where the index is made")
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    # A process of its own: its memory is that of a search alone.
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
      made_s = pool.apply(make, (folder, args))
    result = measure(folder, args) | {"make_s": made_s}
  for key, value in result.items():
    print(f"{key}: {value}")
  del args.folder  # a place of this machine
  if args.json:
    record.save(args.json, args, {"result": result})


def make(folder: str, args: argparse.Namespace) -> float:
  """Makes the index; returns seconds."""
  begin = time.perf_counter()
  index = gallery_index.GalleryIndex.create(
    pathlib.Path(folder) / "index", card(args.dim), dtype=args.dtype
  )
  for start in range(0, args.rows, _PART):
    index.append(rows(args, start, min(_PART, args.rows - start)))
  return time.perf_counter() - begin


def measure(folder: str, args: argparse.Namespace) -> dict[str, object]:
  """Opens, searches, adds, is killed while adding, searches."""
  place = pathlib.Path(folder) / "index"
  begin = time.perf_counter()
  index = gallery_index.GalleryIndex(place)
  open_s = time.perf_counter() - begin
  step = args.rows // args.queries
  wanted = [i * step for i in range(args.queries)]
  queries = noisy_copies(args, wanted)
  seconds = []
  for _ in range(args.repeats):
    begin = time.perf_counter()
    hits = index.search(queries, args.top)
    seconds.append(time.perf_counter() - begin)
  found = sum(
    h[0].name == f"{row}" for h, row in zip(hits, wanted, strict=True)
  )
  search_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  before = {entry.name: entry.stat() for entry in place.iterdir()}
  begin = time.perf_counter()
  index.append(rows(args, args.rows, args.added))
  add_s = time.perf_counter() - begin
  kept = all(
    (place / name).stat().st_mtime_ns == state.st_mtime_ns
    for name, state in before.items()
    if name.endswith((".vectors", ".json")) and name != "index.json"
  )
  count = len(index)
  process = multiprocessing.get_context("spawn").Process(
    target=add_and_die, args=(str(place), args)
  )
  process.start()
  process.join()
  again = gallery_index.GalleryIndex(place)
  same = again.search(queries, args.top) == index.search(queries, args.top)
  return {
    "bytes": sum(s.st_size for n, s in before.items() if "vectors" in n),
    "open_s": open_s,
    "search_s": sorted(seconds),
    "peak_mib": search_mib,
    "first_hits_right": f"{found} of {args.queries}",
    "add_s": add_s,
    "old_files_untouched": kept,
    "killed_by": -(process.exitcode or 0),
    "unchanged_by_kill": len(again) == count and same,
  }


def add_and_die(place: str, args: argparse.Namespace) -> None:
  """Adds images and ends by force before the index names them."""

  def die(*unused):
    os.kill(os.getpid(), signal.SIGKILL)

  gallery_index.save_json = die
  index = gallery_index.GalleryIndex(place)
  index.append(rows(args, args.rows + args.added, args.added))


def card(dim: int) -> dict[str, dict[str, object]]:
  """Of a network that never was."""
  return {
    "model": {"run": "random", "step": 0, "sha256": "0" * 64},
    "embedding": {"dim": dim, "metric": "cosine", "flip": False},
  }


def rows(args: argparse.Namespace, start: int, count: int) -> Embeddings:
  """Random rows, the same for the same numbers."""
  vectors = np.random.default_rng(start).standard_normal(
    (count, args.dim), np.float32
  )
  names = tuple(str(start + i) for i in range(count))
  return Embeddings(
    names, vectors, ("",) * count, np.full(count, -1), card(args.dim)
  )


def noisy_copies(args: argparse.Namespace, wanted: list[int]) -> Embeddings:
  """Rows of the gallery with noise of half their length."""
  vectors = []
  for row in wanted:
    start = row // _PART * _PART
    random = np.random.default_rng(start)
    # Rows come one after the other from the generator.
    head = random.standard_normal((row - start + 1, args.dim), np.float32)
    vectors.append(head[-1].copy())  # not a view that keeps all of it
  found = np.stack(vectors)
  found += 0.5 * np.random.default_rng(7).standard_normal(found.shape)
  names = tuple(f"query {row}" for row in wanted)
  labels = ("",) * len(names)
  return Embeddings(
    names, found, labels, np.full(len(names), -1), card(args.dim)
  )


if __name__ == "__main__":
  main()
