"""Flags of all commands that score runs: keys of the section `eval`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from metabin_jax.errors import UserError


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
    "--adapt",
    metavar="NAME",
    help="move parts of the network for each fold by its own images, without "
    "labels, before it is scored: bnta or none; the run stays as it is",
  )
  parser.add_argument(
    "--bnta",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="how --adapt=bnta adapts, a key of eval.bnta, e.g. groups=bn,in or "
    "lr=0.001; may be given several times",
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
    "adapt": args.adapt,
    "bnta": _read_bnta(args.bnta) or None,
    "query_expansion": args.query_expansion,
    "rerank": args.rerank,
    "ap": args.ap,
  }
  if args.cross_camera:
    given["cross_camera"] = args.cross_camera == "on"
  return {key: value for key, value in given.items() if value is not None}


def _read_bnta(words: Sequence[str]) -> dict[str, Any]:
  """KEY=VALUE as values of the types that the keys have."""
  # Late import: its package takes a moment, and most calls have no such flag.
  from metabin_jax import default_config

  usual = default_config.get_config().eval.bnta
  found = {}
  for word in words:
    key, equals, text = word.partition("=")
    if not equals or key not in usual:
      raise UserError(
        f"--bnta {word} sets no key of eval.bnta; write KEY=VALUE with one of "
        f"{', '.join(usual)}."
      )
    try:
      found[key] = _read(text, type(usual[key]))
    except (KeyError, ValueError) as error:
      raise UserError(
        f"--bnta {word} is of another type than the default, "
        f"{key}={usual[key]!r}; write tuples with commas, truth values as true "
        "and false."
      ) from error
  return found


def _read(text: str, kind: type) -> Any:
  if kind is bool:
    return {"true": True, "false": False}[text.lower()]
  if kind is tuple:
    return tuple(part.strip() for part in text.split(",") if part.strip())
  return kind(text)
