"""`metabin compare`: how alike two images are."""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Sequence

from metabin_jax.cli import arguments, outputs
from metabin_jax.data import listing
from metabin_jax.errors import UserError


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin compare --help`."""
  parser = arguments.Parser(
    "compare",
    "Prints the cosine of the embeddings of two images, from -1 to 1. From "
    "which value on two images show the same person depends on the network.",
  )
  parser.add_argument("run", metavar="RUN", help="workdir of a run")
  parser.add_argument("images", nargs=2, metavar="IMAGE", help="two files")
  arguments.add_embedding(parser)
  decide = parser.add_mutually_exclusive_group()
  decide.add_argument(
    "--threshold",
    type=float,
    metavar="T",
    help="also say whether the cosine is at least this",
  )
  decide.add_argument(
    "--calibration",
    type=pathlib.Path,
    metavar="FILE",
    help="take the threshold that `metabin calibrate --json` has written; of "
    "several the first",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the numbers"
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--json", args.json)
  if args.threshold is not None and not -1 <= args.threshold <= 1:
    raise UserError(
      f"--threshold is {args.threshold}; a cosine lies between -1 and 1."
    )
  for image in args.images:
    if os.path.isdir(image):
      raise UserError(f"{image} is a folder; name an image.")
    if not os.path.exists(image):
      raise listing.missing_path(image, "image")
  return _compare(args)


def _compare(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.cli import calibrate, embedded
  from metabin_jax.data.image_lists import Entry
  from metabin_jax.evaluation import embedding_file
  from metabin_jax.evaluation.table import save_json
  from metabin_jax.runtime import extraction
  from metabin_jax.runtime.gallery import check_model

  threshold = args.threshold
  if args.calibration:
    threshold, card = calibrate.read_threshold(args.calibration)
  extractor = embedded.load_extractor(args)
  if args.calibration:
    check_model(str(args.calibration), card, extractor.card)
  vectors = extractor(args.images)
  # One image may be compared with itself: names are places here.
  entries = [Entry(f"image {i}", path) for i, path in enumerate(args.images, 1)]
  found = extraction.join(entries, vectors, extractor.card)
  one, other = embedding_file.unit_rows(found, extractor.dim).astype(float)
  cosine = float(one @ other)
  print(f"cosine {cosine:.4f}")
  report = {"images": args.images, "cosine": cosine, "card": extractor.card}
  if threshold is not None:
    same = cosine >= threshold
    print(
      f"{'at least' if same else 'below'} the threshold {threshold:g}: "
      f"{'the same person' if same else 'different persons'}"
    )
    report |= {"threshold": threshold, "same": same}
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, report)
  return 0
