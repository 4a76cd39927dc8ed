"""`metabin train`: train a network, or continue a run."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from metabin_jax.errors import UserError

HELP = """usage: metabin train --config=FILE --workdir=DIR [options]

Trains the network that FILE describes and scores it on its targets. A workdir
that holds a stopped run of the same configuration is continued.

  --config=FILE[:VARIANT]  a Python file with get_config(), see configs/
  --config.KEY=VALUE       overrides one key, e.g. --config.train.seed=1;
                           quote tuples: "--config.data.sources=('market:A',)"
  --workdir=DIR            checkpoints, metrics.jsonl, run.json, result.json
  --json=FILE              also write the scores there
"""


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `HELP`."""
  if any(word in ("-h", "--help", "-help") for word in argv):
    print(HELP)
    return 0
  config, workdir, json_file = _parse(argv)
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.cli import compilation_cache, scores
  from metabin_jax.data import checks, readers
  from metabin_jax.evaluation.table import Row, format_table
  from metabin_jax.runtime import loop, resolve, scoring

  config = resolve.resolve(config)
  sources = [readers.open_dataset(spec) for spec in config.data.sources]
  report = checks.check_sources(sources, meta=config.method == "metabin")
  targets = [readers.open_dataset(spec) for spec in config.data.targets]
  checks.check_targets(sources, targets, cross_camera=config.eval.cross_camera)
  _say(
    f"{report.num_images} images of {report.num_pids} persons in "
    f"{len(report.domains)} domains"
  )
  for note in report.notes:
    _say(note)
  compilation_cache.enable()
  outcome = loop.train(config, sources, workdir, say=_say)
  if outcome.stopped_by is not None:
    _say(
      f"stopped by signal {outcome.stopped_by} after iteration {outcome.step} "
      f"of {outcome.total_steps}, saved; the same command continues."
    )
    return 128 + outcome.stopped_by
  summaries = scoring.score(
    config, outcome.network, outcome.state.variables, targets
  )
  rows = [
    Row(target, workdir.name, summary) for target, summary in summaries.items()
  ]
  scores.save(rows, [workdir / "result.json", *([json_file] * bool(json_file))])
  if rows:
    print(format_table(rows, config.eval.ranks))
  _say(f"done: {outcome.step} iterations in {workdir}")
  return 0


def _parse(argv):
  """Flags of a fresh set, so that a process may run several commands."""
  values = flags.FlagValues()
  words = ["metabin train", *argv]
  config_flags.DEFINE_config_file(
    "config", None, "configuration", flag_values=values, sys_argv=words
  )
  flags.DEFINE_string("workdir", None, "run folder", flag_values=values)
  flags.DEFINE_string("json", None, "scores", flag_values=values)
  try:
    left = values(words)
    config = values.config
  except (
    flags.Error,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
    ImportError,
  ) as error:
    text = " ".join(str(error).split()) or type(error).__name__
    raise UserError(
      f"the flags cannot be used: {text} See `metabin train --help` and "
      "metabin_jax/default_config.py for all keys."
    ) from error
  if left[1:]:
    raise UserError(
      f"{left[1]!r} is no flag; write --name=value (and quote tuples)."
    )
  if config is None or values.workdir is None:
    raise UserError(
      "--config=FILE and --workdir=DIR are needed; e.g. --config="
      "configs/quickstart.py --workdir=runs/quickstart."
    )
  workdir = pathlib.Path(values.workdir)
  if workdir.exists() and not workdir.is_dir():
    raise UserError(f"--workdir={workdir} is a file; name a folder.")
  return config, workdir, pathlib.Path(values.json) if values.json else None


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
