"""`metabin calibrate`: the threshold for a wanted false match rate."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError

if TYPE_CHECKING:
  import numpy as np

  from metabin_jax.evaluation.calibration import Interval
  from metabin_jax.evaluation.embedding_file import Embeddings

_RATES = (1e-2, 1e-3)


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
    metavar="RATE",
    help="wanted false match rates (default: of 0.01 and 0.001 those that so "
    "many pairs can show)",
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
  for option, values in (
    ("fmr", args.fmr or ()),
    ("confidence", [args.confidence]),
  ):
    for value in values:
      if not 0 < value < 1:
        raise UserError(
          f"--{option} is {value:g}; write a number between 0 and 1."
        )
  return _calibrate(args)


def read_threshold(path: pathlib.Path) -> tuple[float, dict[str, Any]]:
  """The first threshold of a file that this command has written.

  Args:
    path: the file.

  Returns:
    (threshold, card of the network that it is for).

  Raises:
    UserError: if the file is missing or something else.
  """
  try:
    found = json.loads(path.read_bytes())
    threshold = float(found["thresholds"][0]["threshold"])
    given = dict(found["card"])
  except FileNotFoundError as error:
    raise UserError(
      f"{path} does not exist; write it with `metabin calibrate --json`."
    ) from error
  except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
    raise UserError(
      f"{path} is not a file of `metabin calibrate --json` ({error})."
    ) from error
  return threshold, given


def _calibrate(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait for JAX.
  import numpy as np

  from metabin_jax.evaluation import calibration, embedding_file
  from metabin_jax.evaluation.table import save_json

  found, rates = _read(args)
  known = [row for row, pid in enumerate(found.pids) if pid]
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
    for wanted in rates
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


def _read(args: argparse.Namespace) -> tuple[Embeddings, list[float]]:
  """The embeddings, and the rates to look for; refuses before it embeds."""
  import numpy as np

  from metabin_jax.cli import embedded
  from metabin_jax.runtime import extraction

  reader = embedded.Reader(args)
  if not args.run or any(embedded.is_file(place) for place in args.images):
    found = reader.read("the place", args.images)
    return found, _rates(args, np.array(found.pids), found.camids)
  entries = [e for e in embedded.list_images(args, args.images) if e.pid]
  rates = _rates(
    args,
    np.array([entry.pid for entry in entries]),
    np.array([entry.camid for entry in entries], np.int64),
  )
  vectors = reader.extractor([entry.path for entry in entries])
  return extraction.join(entries, vectors, reader.extractor.card), rates


def _rates(
  args: argparse.Namespace, pids: np.ndarray, camids: np.ndarray
) -> list[float]:
  """The wanted false match rates, which the labels must support."""
  from metabin_jax.evaluation import calibration

  known = pids != ""
  if not known.any():
    raise UserError(
      "no image has a person; name labelled images, or a .csv file with the "
      "column pid."
    )
  _, pairs, _ = calibration.count_pairs(
    pids[known], camids[known], cross_camera=args.cross_camera == "on"
  )
  wanted = args.fmr or _RATES
  rates = [rate for rate in wanted if calibration.supports(rate, pairs)]
  left = [rate for rate in wanted if rate not in rates]
  if left and (args.fmr or not rates):
    raise calibration.unsupported(left[0], pairs)
  for rate in left:
    print(
      f"note: a false match rate of {rate:g} is left out: {pairs:,} pairs of "
      f"different persons support none below "
      f"{calibration.RULE_OF_THREE / pairs:.1e} (3 / pairs)",
      file=sys.stderr,
    )
  return rates


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
