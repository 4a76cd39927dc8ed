"""Pairing the images of a large gallery: seconds, and the memory it takes.

  python experiments/benchmarks/pairing.py --json=FILE

Random features of parts, 256 numbers each as in the published network. Memory:
the process's peak while pairing, less what it held before, the features
themselves not counted.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import numpy as np
import record

from metabin_jax.evaluation import part_pairs
from metabin_jax.repro.costs import peak_resident_bytes


def main() -> None:
  """Measures, prints a line a size, and writes JSON."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    "--images", type=int, nargs="+", default=[900, 5_000, 20_000]
  )
  parser.add_argument("--parts", type=int, default=6)
  parser.add_argument("--dim", type=int, default=256)
  parser.add_argument("--pairs", type=int, default=part_pairs.MAX_PAIRS)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  random = np.random.default_rng(args.seed)
  rows = []
  for count in sorted(args.images):  # a peak can only grow
    features = random.standard_normal(
      (count, args.parts, args.dim), dtype=np.float32
    )
    before = peak_resident_bytes()
    start = time.perf_counter()
    pairs = part_pairs.pair_images(features, args.pairs)
    row = {
      "images": count,
      "pairs": len(pairs.rows),
      "seconds": round(time.perf_counter() - start, 2),
      "features_megabytes": round(features.nbytes / 1e6, 1),
      "added_megabytes": round((peak_resident_bytes() - before) / 1e6, 1),
      "process_megabytes": round(peak_resident_bytes() / 1e6, 1),
    }
    rows.append(row)
    print(row, flush=True)
  record.save(args.json, args, {"rows": rows})


if __name__ == "__main__":
  main()
