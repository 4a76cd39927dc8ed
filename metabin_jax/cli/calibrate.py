"""`metabin calibrate`: the threshold for a wanted false match rate."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError

if TYPE_CHECKING:
  from metabin_jax.evaluation.calibration import Interval


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin calibrate --help`."""
  parser = arguments.Parser(
    "calibrate",
    "Finds the cosine from which on two images count as the same person, such "
    "that no more than a wanted share of the pairs of different persons does, "
    "and says which share of the pairs of one person is then missed. Use "
    "persons that the network was not trained on, from the cameras that it "
    "will be used with.",
  )
  parser.add_argument(
    "images",
    nargs="+",
    metavar="PLACE",
    help="labelled images: a file of `metabin extract`, or with --run a data "
    "set READER:PATH[?key=value] or a .csv file with columns path and pid",
  )
  parser.add_argument(
    "--fmr",
    type=float,
    nargs="+",
    default=[1e-2, 1e-3],
    metavar="RATE",
    help="wanted false match rates (default: 0.01 0.001)",
  )
  parser.add_argument(
    "--cross-camera",
    choices=("on", "off"),
    default="on",
    help="leave out pairs of one person from one camera (default: on)",
  )
  parser.add_argument(
    "--confidence",
    type=float,
    default=0.95,
    metavar="SHARE",
    help="of the intervals (default: 0.95)",
  )
  parser.add_argument(
    "--seed",
    type=arguments.seed,
    default=0,
    metavar="N",
    help="of the intervals' draws (default: 0)",
  )
  parser.add_argument("--run", metavar="RUN", help="workdir of a run")
  arguments.add_embedding(parser)
  data_options.add_arguments(parser)
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the thresholds"
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--json", args.json)
  for option, values in (("fmr", args.fmr), ("confidence", [args.confidence])):
    for value in values:
      if not 0 < value < 1:
        raise UserError(
          f"--{option} is {value:g}; write a number between 0 and 1."
        )
  return _calibrate(args)


def read_threshold(path: pathlib.Path, card: Mapping[str, Any]) -> float:
  """The first threshold of a file that this command has written.

  Args:
    path: the file.
    card: of the network that it is wanted for.

  Raises:
    UserError: if the file is something else, or for another network.
  """
  from metabin_jax.runtime.gallery import check_model

  try:
    found = json.loads(path.read_bytes())
    threshold = float(found["thresholds"][0]["threshold"])
    given = found["card"]
  except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
    raise UserError(
      f"{path} is not a file of `metabin calibrate --json` ({error})."
    ) from error
  check_model(str(path), given, card)
  return threshold


def _calibrate(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait for JAX.
  import numpy as np

  from metabin_jax.cli import embedded
  from metabin_jax.evaluation import calibration, embedding_file
  from metabin_jax.evaluation.table import save_json

  found = embedded.Reader(args).read("the place", args.images)
  known = [row for row, pid in enumerate(found.pids) if pid]
  if not known:
    raise UserError(
      "no image has a person; name labelled images, or a .csv file with the "
      "column pid."
    )
  rows = embedding_file.unit_rows(found, found.card["embedding"]["dim"])
  pids = np.array(found.pids)[known]
  results = [
    calibration.calibrate(
      rows[known],
      pids,
      found.camids[known],
      wanted,
      cross_camera=args.cross_camera == "on",
      confidence=args.confidence,
      seed=args.seed,
    )
    for wanted in args.fmr
  ]
  first = results[0]
  print(
    f"{len(known):,} images of {first.persons:,} persons: {first.genuine:,} "
    f"pairs of one person, {first.impostor:,} of two"
  )
  share = f"{args.confidence:.0%}"
  print(f"wanted FMR  threshold  FMR ({share})  FNMR ({share})")
  for r in results:
    print(
      f"{r.wanted:10g}  {r.threshold:9.4f}  {_text(r.fmr)}  {_text(r.fnmr)}"
    )
  person_pairs = first.persons * (first.persons - 1) // 2
  for r in results:
    if r.wanted * person_pairs < calibration.RULE_OF_THREE:
      print(
        f"warning: {r.wanted:g} is less than 3 in {person_pairs:,} pairs of "
        "persons: the threshold hangs on a few persons who look alike; believe "
        "the interval, not the rate",
        file=sys.stderr,
      )
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, _report(args, found.card, results))
  return 0


def _text(interval: Interval) -> str:
  rate, low, high = interval
  return f"{rate:.2e} ({low:.1e} to {high:.1e})"


def _report(args, card, results) -> dict[str, Any]:
  return {
    "card": card,
    "confidence": args.confidence,
    "cross_camera": args.cross_camera == "on",
    "seed": args.seed,
    "thresholds": [
      {
        **result._asdict(),
        "fmr": result.fmr._asdict(),
        "fnmr": result.fnmr._asdict(),
      }
      for result in results
    ],
  }
