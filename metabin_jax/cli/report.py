"""`metabin report`: all about a run in one HTML file."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from metabin_jax.cli import (
  arguments,
  data_options,
  eval_options,
  outputs,
  targets,
)


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin report --help`."""
  parser = arguments.Parser(
    "report",
    "Scores a run on its targets and writes one HTML file about it: scores "
    "with folds, CMC and ROC, ranked lists, activation maps, t-SNE, rho, "
    "training curves, configuration. The file needs no network and no script.",
  )
  parser.add_argument(
    "run", metavar="RUN", help="workdir of a run, or job of `metabin repro`"
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    metavar="FILE",
    help="the file to write (default: report.html in the run's folder)",
  )
  targets.add_argument(parser)
  data_options.add_arguments(parser)
  parser.add_argument("--step", type=int, help="checkpoint; default: newest")
  eval_options.add_arguments(parser)
  parser.add_argument(
    "--queries",
    type=arguments.count,
    default=5,
    metavar="N",
    help="ranked lists of each kind (random, worst, best) and activation maps "
    "for each target (default: 5)",
  )
  parser.add_argument(
    "--no-photos",
    dest="photos",
    action="store_false",
    help="leave out ranked lists and activation maps, which show persons",
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.cli import provenance
  from metabin_jax.data import readers
  from metabin_jax.report import run_report, runs
  from metabin_jax.runtime import compilation_cache, run_folder, scoring

  run_report.check_installed()
  compilation_cache.enable()
  (found,) = runs.find_runs([pathlib.Path(args.run)])
  out = args.out or found.workdir / "report.html"
  outputs.check_file("--out", out)
  loaded = scoring.load_run(found.workdir, args.step, warn=_say)
  config = scoring.override_eval(loaded.config, eval_options.changes(args))
  specs = targets.choose(args.run, args.target or config.data.targets, args)
  opened, warnings = targets.open_targets(
    loaded, config, specs, readers.open_dataset, _say
  )
  page = run_report.make(
    found,
    loaded,
    config,
    opened,
    [
      *provenance.target_lines(opened),
      *provenance.source_lines(loaded.sources),
      *(f"warning: {warning}" for warning in warnings),
    ],
    run_folder.versions() | run_report.versions(),
    run_report.Choices(args.queries, args.photos),
  )
  run_report.save(out, page)
  print(out)
  return 0


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
