"""`metabin check-data`: what is in data sets, and what is wrong with them."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metabin_jax.cli import arguments, data_options, outputs

if TYPE_CHECKING:  # mistakes in flags should not wait for it
  from metabin_jax.data.doctor.files import FileFacts
  from metabin_jax.data.doctor.report import Opened

PROBLEMS_FOUND = 1
_LOG_EVERY_FILES = 10_000


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin check-data --help`."""
  try:
    args = _make_parser().parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--json", args.json)
  # Late imports: help and mistakes in flags should not wait.
  from metabin_jax import default_config
  from metabin_jax.data.doctor import report, text
  from metabin_jax.evaluation.table import save_json

  allowed = {
    "allow_partial": args.allow_partial,
    "licensed_copy": args.licensed_copy,
  }
  opened = [_open(place, allowed) for place in args.places]
  facts = None if args.quick else _examine(opened)
  config = default_config.get_config()
  settings = report.Settings(
    height=args.height,
    width=args.width,
    batch_size=config.data.batch_size,
    instances=config.data.instances,
    num_mtrain=config.meta.num_mtrain,
    cross_camera=args.cross_camera == "on",
  )
  found = report.make_report(opened, facts, settings)
  print(text.format_report(found), flush=True)
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, report.to_json(found))
  return PROBLEMS_FOUND if found.problems() else 0


def _make_parser() -> argparse.ArgumentParser:
  parser = arguments.Parser(
    "check-data",
    "Says what is in data sets, what is wrong with them and what a "
    "run would do with them. Nothing is changed. Exit status: 0 no problem, 1 "
    "problems were found, 2 a data set could not be opened.",
  )
  parser.add_argument(
    "places",
    nargs="+",
    metavar="PLACE",
    help="a data set, READER:PATH[?key=value]; or a folder or .csv file alone, "
    "and the reader is guessed",
  )
  parser.add_argument(
    "--quick", action="store_true", help="labels alone: no image is opened"
  )
  parser.add_argument(
    "--cross-camera",
    choices=("on", "off"),
    default="on",
    help="whether tests leave out gallery images of the query's person and "
    "camera (default: on)",
  )
  arguments.add_size(parser)
  parser.add_argument(
    "--json",
    type=pathlib.Path,
    metavar="FILE",
    help="write the same, with every single case",
  )
  data_options.add_arguments(parser)
  return parser


def _open(place: str, allowed: dict[str, bool]) -> Opened:
  from metabin_jax.data import readers
  from metabin_jax.data.doctor import guess
  from metabin_jax.data.doctor.report import Opened
  from metabin_jax.data.public import reading
  from metabin_jax.data.public.registry import PUBLIC_SETS

  existing = os.path.expanduser(place)
  # Without a reader in front, it can only be a path, there or not.
  guessed = os.path.exists(existing) or ":" not in place
  spec = guess.guess_spec(existing, PUBLIC_SETS) if guessed else place
  (spec,) = data_options.apply([spec], **allowed)
  # What a run would refuse to read is what wants looking at.
  (readable,) = data_options.apply([spec], **{**allowed, "allow_partial": True})
  dataset = readers.open_dataset(readable)
  parsed = readers.parse_spec(spec)
  folder = os.path.abspath(os.path.expanduser(parsed.location))
  if parsed.reader in PUBLIC_SETS:
    folder = reading.find_root(PUBLIC_SETS[parsed.reader], folder)
  elif parsed.reader not in ("folder", "market"):
    # Beside a manifest there may be anything.
    folder = ""
  return Opened(dataset, spec, guessed, folder)


def _examine(opened: Sequence[Opened]) -> dict[str, FileFacts]:
  from metabin_jax.data.doctor import files
  from metabin_jax.runtime.progress import Progress

  paths = {
    record.path for each in opened for record in files.all_records(each.dataset)
  }
  print(f"opening {len(paths)} image files", file=sys.stderr, flush=True)
  with Progress(len(paths), log_every=_LOG_EVERY_FILES) as progress:
    return files.examine_all(
      paths, report=lambda done: progress.update(done, images=1)
    )
