"""`metabin figures`: draw what runs have learned, with the numbers beside."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError

# Here and not from `report`: help should not wait for JAX.
KINDS = {
  "rho-layers": "rho in each layer of a checkpoint",
  "rho-training": "mean and deviation of rho over the iterations",
  "rho-gradients": "which way each meta-train loss pulls rho",
  "losses": "loss curves",
  "tsne": "query and gallery embeddings of the targets in the plane",
  "multilabels": "method mar: how log soft multilabels are distributed",
  "bars": "rows of studies, from the JSON files of `metabin repro`",
  "all": "every figure that the runs allow",
}


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin figures --help`."""
  parser = _parser()
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_folder("--out", args.out)
  paths = [pathlib.Path(name) for name in args.runs]
  studies = [path for path in paths if path.suffix == ".json"]
  folders = [path for path in paths if path.suffix != ".json"]
  if args.kind == "bars" and folders:
    raise UserError(
      f"bars are drawn from the JSON files of studies, {folders[0]} is none; "
      "give e.g. runs/repro/quick/table2.json."
    )
  if args.kind not in ("bars", "all") and studies:
    raise UserError(
      f"{args.kind} is drawn of runs, {studies[0]} is none; give the --workdir "
      "of a `metabin train`."
    )
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.report import kinds, runs, style
  from metabin_jax.runtime import compilation_cache

  style.check_installed()
  compilation_cache.enable()
  output = kinds.Output(args.out, args.format)
  options = runs.Options(
    step=args.step,
    targets=data_options.apply(
      args.target,
      allow_partial=args.allow_partial,
      licensed_copy=args.licensed_copy,
    ),
    batches=args.batches,
    losses=args.losses,
    layers=args.layers,
  )
  found = runs.find_runs(folders)
  if args.kind == "bars":
    written = kinds.make_bars(studies, output)
  elif args.kind == "all":
    written = kinds.make_all(found, studies, options, output, _say)
  else:
    written = kinds.make(args.kind, found, options, output)
  print(*written, sep="\n")
  return 0


def _parser() -> arguments.Parser:
  kinds = "\n".join(f"  {name:<15}{text}" for name, text in KINDS.items())
  parser = arguments.Parser(
    "figures",
    "Draws figures of runs; the numbers of each are written beside it as CSV."
    f"\n\nkinds:\n{kinds}",
  )
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument("kind", metavar="KIND", choices=tuple(KINDS))
  parser.add_argument(
    "runs",
    nargs="+",
    metavar="RUN",
    help="workdir of a run, job of `metabin repro`, or JSON file of a study",
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    default=pathlib.Path("figures"),
    metavar="DIR",
    help="folder of the files KIND.FORMAT and KIND.csv (default: figures)",
  )
  parser.add_argument(
    "--format",
    choices=("png", "pdf", "svg"),
    default="png",
    help="of the figures (default: png, 150 dots an inch)",
  )
  parser.add_argument("--step", type=int, help="checkpoint; default: newest")
  parser.add_argument(
    "--target",
    action="append",
    default=[],
    metavar="SPEC",
    help="tsne: a data set with query and gallery, READER:PATH[?key=value]; "
    "may be given several times; without it the runs' own targets",
  )
  parser.add_argument(
    "--batches",
    type=_positive,
    default=10,
    metavar="N",
    help="rho-gradients: number of meta-train batches (default: 10)",
  )
  parser.add_argument(
    "--losses",
    type=_names,
    default=(),
    metavar="A,B",
    help="rho-gradients: losses (default: the run's meta-train losses)",
  )
  parser.add_argument(
    "--layers",
    type=_names,
    default=(),
    metavar="A,B",
    help="rho-training: layers to draw (default: five from first to last)",
  )
  data_options.add_arguments(parser)
  return parser


def _positive(text: str) -> int:
  return arguments.whole_number(text, 1, "not a number of batches")


def _names(text: str) -> tuple[str, ...]:
  return tuple(name for name in text.split(",") if name)


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
