"""`metabin prepare`: decode and resize training images before training."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin prepare --help`."""
  parser = arguments.Parser(
    "prepare",
    "Decodes and resizes the training images of data sets into "
    "the cache that training with data.cache='disk' reads, and checks what is "
    "there already. A command that was stopped goes on where it was.",
  )
  parser.add_argument(
    "specs",
    nargs="+",
    metavar="SPEC",
    help="a data set, READER:PATH[?key=value], as in data.sources",
  )
  arguments.add_size(parser)
  parser.add_argument(
    "--cache-dir",
    type=pathlib.Path,
    metavar="DIR",
    help="data.cache_dir (default: $METABIN_CACHE or ~/.cache/metabin_jax)",
  )
  data_options.add_arguments(parser)
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  if args.cache_dir is not None:
    outputs.check_folder("--cache-dir", args.cache_dir)
  try:
    return _prepare(args)
  except KeyboardInterrupt:
    _say("interrupted; what is finished stays, the same command continues.")
    return 130


def _prepare(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait.
  from metabin_jax.cli import provenance
  from metabin_jax.data import pixel_preparation, readers
  from metabin_jax.runtime import run_folder

  specs = data_options.apply(
    args.specs,
    allow_partial=args.allow_partial,
    licensed_copy=args.licensed_copy,
  )
  datasets = [readers.open_dataset(spec) for spec in specs]
  for spec, dataset in zip(specs, datasets, strict=True):
    if not dataset.train:
      raise UserError(
        f"{spec} has no training image; name data sets to train on."
      )
  described = run_folder.describe_sources(datasets)
  for line in provenance.source_lines(described):
    _say(line)
  cache = pixel_preparation.prepare(
    datasets,
    height=args.height,
    width=args.width,
    root=args.cache_dir,
    say=_say,
  )
  assert cache is not None  # nothing asks it to stop
  damaged = cache.verify()
  for part in cache.parts:
    print(
      f"{part.name}: {len(part.paths):,} images of {args.height}x{args.width} "
      f"pixels, {part.file.size:,} bytes, {part.folder}"
    )
  print(f"all checksums are right; {damaged} images had to be made again")
  return 0


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
