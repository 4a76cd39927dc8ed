"""Makes a site of a test set: half of its persons to learn from, half to find.

  python experiments/mar/halve_persons.py DATASET --out=site.csv [--seed=2020]

DATASET is a description as everywhere, for example
"pku_reid:DIR?partial=allow". Its first fold is taken: all images of a random
half of the persons (the larger, if they are odd) are written as train, which
MAR learns from without labels; those of the others stay queries and gallery.
Images of its own train part are not used. OUT must not exist.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import pathlib
import sys

import numpy as np

from metabin_jax.data import manifest, readers
from metabin_jax.data.records import UNKNOWN_CAMERA
from metabin_jax.errors import UserError
from metabin_jax.repro import render


def main() -> None:
  """Writes the manifest."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("dataset")
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--seed", type=int, default=2020)
  args = parser.parse_args()
  try:
    dataset = readers.open_dataset(args.dataset)
  except UserError as error:
    parser.error(str(error))
  if not dataset.folds:
    parser.error(f"{args.dataset} has no query and no gallery.")
  if args.out.exists():
    parser.error(f"{args.out} exists; remove it, or choose another name.")
  fold = dataset.folds[0]
  pids = sorted({record.pid for record in fold.query})
  if len(pids) < 2:
    parser.error(f"{args.dataset} has queries of one person; give it two.")
  drawn = np.random.default_rng(args.seed).permutation(pids)
  learned = set(drawn[: (len(pids) + 1) // 2].tolist())
  out = args.out.absolute()
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(manifest.REQUIRED_COLUMNS)
  for part, records in (("query", fold.query), ("gallery", fold.gallery)):
    for record in records:
      known = record.camid != UNKNOWN_CAMERA
      writer.writerow(
        (
          os.path.relpath(record.path, out.parent),
          record.pid.removeprefix(f"{dataset.name}/"),
          record.camid if known else "unknown",
          dataset.name,
          "train" if record.pid in learned else part,
        )
      )
  render.save_text(out, text.getvalue())
  print(
    f"{out}: {len(learned)} persons to learn from, "
    f"{len(pids) - len(learned)} to find",
    file=sys.stderr,
  )


if __name__ == "__main__":
  main()
