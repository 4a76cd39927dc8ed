"""Time and memory of ranking, query expansion and re-ranking on the host.

  python experiments/benchmarks/reranking.py --json=out.json
  python experiments/benchmarks/reranking.py --query=11659 --gallery=82161 \
    --persons=3060 --cameras=15 --ways rerank --json=out.json

Random embeddings in groups stand for those of a network: the sizes are those of
a data set, the scores mean nothing. Each way is measured once, in this order,
in one process; memory is the peak of the process during the call above what it
held before, so the embeddings are not counted (Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import time

import numpy as np

import metabin_jax
from metabin_jax.evaluation import evaluate, summary
from metabin_jax.evaluation.settings import Settings, describe

WAYS = {
  "rank": Settings(place="host"),
  "expand": Settings(place="host", query_expansion=5),
  "rerank": Settings(place="host", rerank=True),
}


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--query", type=int, default=3368)
  parser.add_argument("--gallery", type=int, default=15913)
  parser.add_argument("--persons", type=int, default=750)
  parser.add_argument("--cameras", type=int, default=6)
  parser.add_argument("--dimension", type=int, default=2048)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  query, gallery, labels = make_problem(args)
  results = []
  for way in args.ways:
    row = {"way": way, "evaluation": describe(WAYS[way])}
    row |= measure(query, gallery, labels, WAYS[way])
    results.append(row)
    print(
      f"{row['evaluation']}: {row['wall_s']:.1f} s, CPU {row['cpu_s']:.1f} s, "
      f"{row['peak_mib']:.0f} MiB, mAP {row['mAP']:.4f}",
      flush=True,
    )
  if args.json:
    arguments = {k: v for k, v in vars(args).items() if k != "json"}
    data = {
      "arguments": arguments,
      "cores": len(os.sched_getaffinity(0)),
      "versions": {
        "metabin_jax": metabin_jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
      },
      "results": results,
    }
    args.json.write_text(json.dumps(data, indent=2) + "\n")


def make_problem(args: argparse.Namespace):
  """Persons around random places, images around persons; 64 directions vary."""
  random = np.random.Generator(np.random.Philox(args.seed))
  count = args.query + args.gallery
  persons = random.standard_normal((args.persons, 64), np.float32)
  spread = random.standard_normal((64, args.dimension), np.float32) / 8
  pid = random.integers(0, args.persons, count)
  camid = random.integers(0, args.cameras, count)
  embeddings = np.empty((count, args.dimension), np.float32)
  for low in range(0, count, 4096):
    part = embeddings[low : low + 4096]
    place = persons[pid[low : low + 4096]]
    place = place + 1.2 * random.standard_normal(place.shape, np.float32)
    part[:] = place @ spread
    part += random.standard_normal(part.shape, np.float32)
  cut = args.query
  labels = (pid[:cut], camid[:cut], pid[cut:], camid[cut:])
  return embeddings[:cut], embeddings[cut:], labels


def measure(query, gallery, labels, settings: Settings) -> dict:
  """One call of `evaluate.rank`."""
  pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak
  before = memory_mib("VmRSS")
  wall, cpu = time.perf_counter(), time.process_time()
  ranked = evaluate.rank(query, gallery, labels, settings)
  cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
  return {
    "wall_s": wall,
    "cpu_s": cpu,
    "peak_mib": memory_mib("VmHWM") - before,
    "whole_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    / 1024,
    "mAP": summary.summarize(ranked)["mAP"],
  }


def memory_mib(name: str) -> float:
  """A line of this process's status, in MiB."""
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(name + ":"):
      return int(line.split()[1]) / 1024
  raise OSError(f"no {name} in /proc/self/status")


if __name__ == "__main__":
  main()
