"""`metabin index`: a gallery on disk that grows and shrinks."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin index --help`."""
  parser = arguments.Parser(
    "index",
    "Makes an index for `metabin search`, adds images to it or takes some out. "
    "Without --add, --remove and --compact it says what is in it. Adding "
    "writes nothing of what is there again; a command that is killed leaves "
    "the index as it was.",
  )
  parser.add_argument(
    "index", type=pathlib.Path, metavar="DIR", help="folder of the index"
  )
  parser.add_argument(
    "--add",
    nargs="+",
    metavar="PLACE",
    help="a file of `metabin extract`, or with --run images as it takes them",
  )
  parser.add_argument(
    "--remove",
    nargs="+",
    default=[],
    metavar="NAME",
    help="names of images; done before --add",
  )
  parser.add_argument(
    "--compact",
    action="store_true",
    help="free the space of removed images, at the end",
  )
  parser.add_argument(
    "--dtype",
    choices=("float32", "float16"),
    help="of a new index (default: float32); float16 takes half the space, "
    "and moves cosines by up to some 1e-3",
  )
  parser.add_argument("--run", metavar="RUN", help="workdir of a run")
  arguments.add_embedding(parser)
  data_options.add_arguments(parser)
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_folder("the index", args.index)
  return _index(args)


def _index(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.cli import embedded
  from metabin_jax.runtime.gallery import Gallery
  from metabin_jax.runtime.gallery_index import GalleryIndex

  exists = args.index.is_dir() and any(args.index.iterdir())
  if exists and args.dtype:
    raise UserError(
      f"--dtype is for a new index, and {args.index} is there already."
    )
  if not exists and (args.remove or not args.add):
    raise UserError(f"{args.index} is no index yet; make one with --add.")
  # Everything that can be wrong before anything is changed.
  index = GalleryIndex(args.index) if exists else None
  reader = embedded.Reader(args)
  new = reader.read("--add", args.add) if args.add else None
  if index is None:
    assert new is not None  # asked for above
    Gallery(new)  # refuses what an index would, before there is an empty one
    index = GalleryIndex.create(
      args.index, new.card, dtype=args.dtype or "float32"
    )
  if new is not None or args.remove:
    index.change(new, args.remove)
  if args.compact:
    index.compact()
  model = index.card["model"]
  print(
    f"{args.index}: {len(index):,} images, {index.dim} numbers each, embedded "
    f"by run {model['run']} at step {model['step']}"
  )
  return 0
