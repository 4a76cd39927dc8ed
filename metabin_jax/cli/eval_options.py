"""Flags of all commands that score runs: keys of the section `eval`."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Flags for keys of the section `eval`; each is None unless given."""
  parser.add_argument(
    "--cross-camera",
    choices=("on", "off"),
    help="remove gallery images of the query's person and camera "
    "(default here and below: as the run is configured)",
  )
  parser.add_argument(
    "--flip",
    action=argparse.BooleanOptionalAction,
    help="embed each image and its mirror image",
  )
  parser.add_argument(
    "--adapt-bn",
    metavar="IMAGES",
    help="take the batch norm statistics of each fold's own images, without "
    "labels: gallery, all (queries too) or none",
  )
  parser.add_argument(
    "--query-expansion",
    type=int,
    metavar="K",
    help="average each query with its K nearest gallery images; 0: off",
  )
  parser.add_argument(
    "--rerank",
    action=argparse.BooleanOptionalAction,
    help="k-reciprocal re-ranking",
  )
  parser.add_argument(
    "--ap",
    metavar="NAME",
    help="average precision: interpolation-free, trapezoid or mar",
  )


def changes(args: argparse.Namespace) -> dict[str, Any]:
  """The keys of the section `eval` that flags override."""
  given = {
    "flip": args.flip,
    "adapt_bn": args.adapt_bn,
    "query_expansion": args.query_expansion,
    "rerank": args.rerank,
    "ap": args.ap,
  }
  if args.cross_camera:
    given["cross_camera"] = args.cross_camera == "on"
  return {key: value for key, value in given.items() if value is not None}
