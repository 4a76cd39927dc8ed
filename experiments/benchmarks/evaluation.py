"""Time and memory of the ranking metrics on synthetic embeddings.

  python experiments/benchmarks/evaluation.py --size=market --repeats=5 \
    --json=out.json

Sizes, as queries x gallery x dimensions of float32: `small` a fold of VIPeR,
`market` Market-1501 with its distractors, `msmt17` MSMT17. Each size runs in a
process of its own. For each part: the seconds of every repeat with the load of
the machine, and the highest resident memory above that before the first call,
sampled every 5 ms. The embeddings themselves are not in it.

`--place=device` measures `device_ranking` on JAX's default devices, the first
call apart from the others: it compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import metabin_jax
from metabin_jax.evaluation import exact_distances, ranking, summary

FPRS = (1e-4, 1e-3, 1e-2)


class Size(NamedTuple):
  """Queries; gallery images of known persons, and distractors."""

  num_query: int
  num_labelled: int
  num_distractors: int
  num_persons: int
  num_cameras: int
  dimensions: int = 2048


SIZES = {
  "small": Size(316, 316, 0, 316, 2),
  "market": Size(3368, 13115, 2798, 750, 6),
  "msmt17": Size(11659, 82161, 0, 3060, 15),
}


def main() -> None:
  """Measures each size in a child process and prints."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--size", action="append", choices=sorted(SIZES), required=True
  )
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--place", choices=("host", "device"), default="host")
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.size[0], args)))
    return
  results = {
    "seed": args.seed,
    "place": args.place,
    "processor": platform.processor() or platform.machine(),
    "cores": os.cpu_count(),
    "versions": {
      "metabin_jax": metabin_jax.__version__,
      "numpy": np.__version__,
      "python": platform.python_version(),
    },
    "sizes": {size: run_child(size, args) for size in args.size},
  }
  for size, found in results["sizes"].items():
    for part, row in found["parts"].items():
      print(
        f"{size:8} {part:24} {min(row['seconds']):8.3f} s  "
        f"{row['peak_mb']:7.0f} MB  load {min(row['load']):.1f} to "
        f"{max(row['load']):.1f}"
      )
  if args.json:
    args.json.write_text(json.dumps(results, indent=2) + "\n")


def run_child(size: str, args: argparse.Namespace) -> dict[str, Any]:
  """A process of its own, so that no size starts with another's memory."""
  command = [
    sys.executable,
    __file__,
    "--child",
    f"--size={size}",
    f"--seed={args.seed}",
    f"--repeats={args.repeats}",
    f"--place={args.place}",
  ]
  done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
  """All parts for one size, in turn within each repeat."""
  size = SIZES[name]
  query, gallery, *labels = make_embeddings(size, args.seed)
  parts: dict[str, Callable[[], Any]] = {}
  rank = ranking.rank_queries
  if args.place == "device":
    import jax

    from metabin_jax.evaluation import device_ranking

    rank = device_ranking.rank_queries
    query, gallery = jax.device_put((query, gallery))
    parts["first call, compiles"] = lambda: rank(
      query, gallery, *labels, fprs=FPRS
    )
  else:
    parts["distances"] = lambda: make_all_distances(query, gallery)
  parts["CMC, mAP, mINP"] = lambda: rank(query, gallery, *labels)
  parts["CMC, mAP, mINP, ROC"] = lambda: rank(
    query, gallery, *labels, fprs=FPRS
  )
  rows: dict[str, dict[str, Any]] = {
    part: {"seconds": [], "cpu_seconds": [], "load": [], "peak_mb": 0.0}
    for part in parts
  }
  ranked, base = None, resident_bytes()
  for repeat in range(args.repeats):
    for part, call in parts.items():
      if repeat and part.startswith("first"):
        continue
      ranked = add_row(rows[part], call, base)
  assert ranked is not None, "--repeats is at least 1"
  return {
    "size": size._asdict(),
    "parts": rows,
    "scores": summary.summarize(ranked),
  }


def add_row(row: dict[str, Any], call: Callable[[], Any], base: int) -> Any:
  """Runs `call` once and notes what it took; memory above `base` bytes."""
  row["load"].append(os.getloadavg()[0])
  with PeakMemory() as memory:
    began, cpu_began = time.perf_counter(), time.process_time()
    result = call()
    row["seconds"].append(time.perf_counter() - began)
    row["cpu_seconds"].append(time.process_time() - cpu_began)
  row["peak_mb"] = max(row["peak_mb"], (memory.peak - base) / 1e6)
  return result


def make_embeddings(size: Size, seed: int) -> tuple[np.ndarray, ...]:
  """Persons as points, images around them, all of length 1; and the labels."""
  rng = np.random.Generator(np.random.Philox(seed))
  persons = rng.standard_normal(
    (size.num_persons, size.dimensions), dtype=np.float32
  )
  num_gallery = size.num_labelled + size.num_distractors
  g_pid = np.arange(num_gallery) % size.num_persons
  # Each distractor is a person of its own.
  g_pid[size.num_labelled :] = -1 - np.arange(size.num_distractors)
  q_pid = np.arange(size.num_query) % size.num_persons

  def embed(pid: np.ndarray) -> np.ndarray:
    rows = rng.standard_normal((len(pid), size.dimensions), dtype=np.float32)
    rows *= 4
    for row, person in zip(rows, pid, strict=True):
      if person >= 0:
        row += persons[person]
      row /= np.linalg.norm(row)
    return rows

  if size.num_cameras == 2:  # query and gallery each from one
    q_camid, g_camid = np.zeros(len(q_pid), int), np.ones(len(g_pid), int)
  else:
    q_camid = rng.integers(0, size.num_cameras, len(q_pid))
    g_camid = rng.integers(0, size.num_cameras, len(g_pid))
  return embed(q_pid), embed(g_pid), q_pid, q_camid, g_pid, g_camid


def make_all_distances(query: np.ndarray, gallery: np.ndarray) -> None:
  """Rounding and exact distances only, a block at a time as in the ranking."""
  distances = exact_distances.make_distances(query, gallery)
  block = ranking.choose_block(len(query), len(gallery))
  for start in range(0, len(query), block):
    distances(start, min(start + block, len(query)))


class PeakMemory:
  """Highest resident memory between entry and exit, in bytes, as `peak`."""

  def __enter__(self) -> PeakMemory:
    """Starts to sample."""
    self.peak = resident_bytes()
    self._over = threading.Event()
    self._thread = threading.Thread(target=self._watch)
    self._thread.start()
    return self

  def __exit__(self, *unused: object) -> None:
    """Stops."""
    self._over.set()
    self._thread.join()

  def _watch(self) -> None:
    while not self._over.wait(0.005):
      self.peak = max(self.peak, resident_bytes())


def resident_bytes() -> int:
  """Resident memory of this process (Linux)."""
  pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
  return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
  main()
