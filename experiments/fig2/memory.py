"""Temporary memory of an iteration, for each row of Fig. 2.

  python experiments/fig2/memory.py --scale=quick

Compiles one iteration (base step and meta step, one program) with the network,
image size and batch of each row and writes the compiler's own account of its
scratch memory beside this file, as memory_<scale>.csv. Nothing is trained. The
batches are of the rendered benchmark at either scale: the pixels do not matter,
and the number of its persons (320) makes the classifier smaller than it is at
the full scale.
"""

from __future__ import annotations

import argparse
import csv
import pathlib

import jax
import numpy as np

from metabin_jax.data import readers
from metabin_jax.repro import arms, jobs, scales, tables
from metabin_jax.repro.types import SCALES
from metabin_jax.runtime import experiment

CATALOGUE = jobs.Catalogue(
  tables.STUDIES, arms.ARMS, scales.get_config, scales.overrides
)


def main() -> None:
  """Measures and writes."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--scale", choices=SCALES, default="quick")
  scale = parser.parse_args().scale
  sources = scales.get_config("quick", "dg").data.sources
  records = [
    record for spec in sources for record in readers.open_dataset(spec).train
  ]
  rows = []
  known: dict[str, int] = {}  # two rows may be the same run
  for cell in jobs.list_cells(
    tables.STUDIES["fig2"], jobs.Choice(scale), CATALOGUE
  ):
    base = scales.get_config(scale, "dg")
    base.data.sources = sources
    (job,) = cell.jobs
    if job.name not in known:
      known[job.name] = measure(jobs.make_config(job, base), records)
    rows.append((cell.entry.label, f"{known[job.name] / 1e6:.1f}"))
    print(*rows[-1], flush=True)
  file = pathlib.Path(__file__).with_name(f"memory_{scale}.csv")
  with file.open("w", newline="") as out:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "temporary_megabytes"))
    writer.writerows(rows)


def measure(config, records) -> int:
  """Bytes of scratch memory of one iteration."""
  parts = experiment.create_experiment(config, records)
  draws = parts.plan.draws(0)
  size = (config.data.height_px, config.data.width_px, 3)
  pixels = [np.zeros((len(draw.rows), *size), np.uint8) for draw in draws]
  iteration = parts.plan.assemble(0, draws, pixels)
  program = jax.jit(parts.train_step).lower(parts.state, iteration).compile()
  return program.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
  main()
