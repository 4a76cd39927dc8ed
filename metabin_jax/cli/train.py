"""`metabin train`: train a network, or continue a run."""

from __future__ import annotations

import os
import pathlib
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict, config_flags

from metabin_jax.cli import data_options, host_options, outputs
from metabin_jax.cli.main import FAILED, USER_MISTAKE, explain
from metabin_jax.errors import UserError

HELP = """usage: metabin train --config=FILE --workdir=DIR [options]

Trains the network that FILE describes and scores it on its targets. A workdir
that holds a stopped run of the same configuration is continued.

  --config=FILE[:VARIANT]  a Python file with get_config(), see configs/
  --config.KEY=VALUE       overrides one key, e.g. --config.train.seed=1;
                           quote tuples: "--config.data.sources=('market:A',)"
  --workdir=DIR            checkpoints, metrics.jsonl, run.json, result.json
  --json=FILE              also write the scores there
  --allow-partial          read public data sets whose counts differ from the
                           published ones; results say so
  --i-have-a-licensed-copy read data sets that their authors have withdrawn

Several hosts (docs/parallel.md): the same command on each, with one workdir
that all can reach and --config.parallel.devices=0, and either of

  --hosts=auto             Slurm, TPU pods, Open MPI: asks the environment
  --hosts=N --host_index=I --coordinator=ADDRESS:PORT
                           N processes; this one is I of 0..N-1; host 0 listens
  --host_timeout=SECONDS   how long to wait for the others (default: 300)
"""


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `HELP`."""
  if any(word in ("-h", "--help", "-help") for word in argv):
    print(HELP)
    return 0
  config, workdir, json_file, allowed, hosts = _parse(argv)
  if hosts is None:
    return _train(config, workdir, json_file, allowed)
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.runtime import distributed

  joined = False
  try:
    distributed.join(
      distributed.Hosts(hosts.coordinator, hosts.num_hosts, hosts.host_index),
      timeout_s=hosts.timeout_s,
      give_up=_leave_without_hosts,
    )
    joined = True
    return _train(config, workdir, json_file, allowed)
  # Whatever it is: a process that waits at its exit for the others, which wait
  # for it elsewhere, would hang with them.
  except BaseException as error:
    _leave(_explain_host(error, joined))
    raise  # not reached


def _train(
  config: Any,
  workdir: pathlib.Path,
  json_file: pathlib.Path | None,
  allowed: dict[str, bool],
) -> int:
  """The command behind its flags; returns the exit status."""
  from metabin_jax.cli import provenance
  from metabin_jax.data import checks, readers
  from metabin_jax.evaluation import settings
  from metabin_jax.evaluation.table import Row, format_table
  from metabin_jax.runtime import (
    compilation_cache,
    distributed,
    loop,
    resolve,
    run_folder,
    scoring,
    training_data,
  )

  def say(line: str) -> None:
    if distributed.is_writer():
      _say(line)

  for key in ("sources", "unlabelled", "targets"):
    specs = getattr(config.data, key)
    if all(isinstance(spec, str) for spec in specs):  # else resolve refuses
      config.data[key] = data_options.apply(specs, **allowed)
  config = resolve.resolve(config)
  sources, unlabelled, report, further = training_data.open_training_data(
    config
  )
  targets = [readers.open_dataset(spec) for spec in config.data.targets]
  folds = checks.check_targets(
    [*sources, *unlabelled], targets, cross_camera=config.eval.cross_camera
  )
  distributed.check_equal(
    {
      "their target images": [
        (target.name, [(len(f.query), len(f.gallery)) for f in target.folds])
        for target in targets
      ]
    },
    "give all of them the same data sets.",
  )
  say(
    f"{report.num_images} images of {report.num_pids} persons in "
    f"{len(report.domains)} domains"
  )
  if further is not None:
    say(
      f"{further.num_images} images without labels from {further.num_views} "
      "camera views"
    )
  for note in [*report.notes, *(note for fold in folds for note in fold.notes)]:
    say(note)
  trained = run_folder.describe_sources(sources, unlabelled)
  for line in provenance.source_lines(trained):
    say(line)
  meta = config.method in resolve.META_METHODS
  alone = meta and config.meta.num_mtrain == 1
  if alone and "shuffle" in config.loss.mtrain:
    say(
      "meta.num_mtrain is 1: the shuffle loss has no other domain to shuffle "
      "with; take it out of loss.mtrain, or add domains."
    )
  if not config.meta.base_step and "ce" not in _outer_losses(config):
    say(
      "meta.base_step is False and the outer loss has no 'ce': classifier and "
      "neck are not trained; add it to loss.mtest"
      + (" or loss.mtrain." if config.meta.combined else ".")
    )
  compilation_cache.enable()
  outcome = loop.train(config, sources, workdir, say=say, unlabelled=unlabelled)
  if outcome.stopped_by is not None:
    say(
      f"stopped by signal {outcome.stopped_by} after iteration {outcome.step} "
      f"of {outcome.total_steps}, saved; the same command continues."
    )
    return 128 + outcome.stopped_by
  adapted: scoring.AdaptedFolds = {}
  summaries = scoring.score(
    config,
    outcome.network,
    outcome.state.variables,
    targets,
    adapted=adapted,
  )
  name = workdir.resolve().name
  rows = [Row(target, name, summary) for target, summary in summaries.items()]
  if rows and distributed.is_writer():
    print(format_table(rows, config.eval.ranks), flush=True)
    context = provenance.Context(
      targets,
      {name: settings.describe(settings.from_config(config.eval))},
      {name: trained},
      {name: outcome.step},
      adapted={name: adapted} if adapted else {},
    )
    print(*provenance.lines(context), sep="\n", flush=True)
    # Without targets there is nothing to write: earlier scores stay.
    outputs.save_scores(
      rows,
      [workdir / "result.json", *([json_file] if json_file else [])],
      provenance.to_json(context),
    )
  elif json_file and not rows:
    say(f"no targets, so {json_file} was not written; set data.targets.")
  say(f"done: {outcome.step} iterations in {workdir}")
  return 0


def _outer_losses(config):
  """Losses of the outer step of method "mldg"."""
  combined = config.loss.mtrain if config.meta.combined else ()
  return {*config.loss.mtest, *combined}


def _parse(argv):
  """Flags of a fresh set, so that a process may run several commands."""
  values = flags.FlagValues()
  words = ["metabin train", *argv]
  # ml_collections would load the file on top of the one before it.
  sys.modules.pop("config_config", None)
  _check_config_file(argv)
  config_flags.DEFINE_config_file(
    "config", None, "configuration", flag_values=values, sys_argv=words
  )
  flags.DEFINE_string("workdir", None, "run folder", flag_values=values)
  flags.DEFINE_string("json", None, "scores", flag_values=values)
  host_options.define(values)
  for name in (data_options.ALLOW_PARTIAL, data_options.LICENSED_COPY):
    flags.DEFINE_boolean(name, False, "", flag_values=values)
  try:
    left = values(words)
    config = values.config
    # In place of a file that is not there: raises that error when asked.
    getattr(config, "method", None)
  # The file is the user's program: whatever it raises is theirs to mend.
  except Exception as error:
    raise UserError(_explain(error)) from error
  if left[1:]:
    raise UserError(
      f"{left[1]!r} is no flag; write --name=value (and quote tuples)."
    )
  if config is None or not values.workdir:
    raise UserError(
      "--config=FILE and --workdir=DIR are needed; e.g. --config="
      "configs/quickstart.py --workdir=runs/quickstart."
    )
  if not isinstance(config, config_dict.ConfigDict):
    raise UserError(
      f"get_config() in the --config file returns {type(config).__name__}; "
      "return what metabin_jax.default_config.get_config() gives, changed."
    )
  workdir = pathlib.Path(values.workdir)
  outputs.check_folder("--workdir", workdir)
  json_file = pathlib.Path(values.json) if values.json else None
  outputs.check_file("--json", json_file)
  allowed = {
    "allow_partial": values[data_options.ALLOW_PARTIAL].value,
    "licensed_copy": values[data_options.LICENSED_COPY].value,
  }
  return config, workdir, json_file, allowed, host_options.read(values)


def _check_config_file(argv: Sequence[str]) -> None:
  """A clearer word than the flag's own on a file that is not there."""
  for word in argv:
    name, _, value = word.lstrip("-").partition("=")
    if name == "config" and value:
      file = pathlib.Path(value.partition(":")[0])
      if not file.is_file():
        raise UserError(
          f"--config: {file} is no file; name a Python file with get_config(), "
          "e.g. configs/quickstart.py."
        )


def _explain(error: Exception) -> str:
  """One sentence for whatever reading flags and the file has raised."""
  text = str(error)
  key = re.match(r"\W*(\w+)\\?'(?:\W|n)*(Did you mean.*\?)?\W*$", text)
  if key and isinstance(error, KeyError | AttributeError):
    # ml_collections quotes its quotes here, up to three times.
    text = f"there is no key {key[1]}. {key[2] or ''}"
  elif "Traceback (most" in text:
    # How ml_collections reports what get_config() has raised.
    places = re.findall(r'File "(.+)", line (\d+)', text)
    text = text.strip().splitlines()[-1]
    if places and "ml_collections" not in places[-1][0]:
      text += f" ({places[-1][0]}, line {places[-1][1]})"
  elif not isinstance(error, flags.Error | OSError | SyntaxError):
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {text}"
    text += f" ({last.filename}, line {last.lineno})"
  text = " ".join(text.split()).rstrip(".")
  return (
    f"the flags or the --config file cannot be used: {text}; see "
    "`metabin train --help`, and metabin_jax/default_config.py for all keys."
  )


def _explain_host(error: BaseException, joined: bool) -> int:
  """Prints why one of several hosts leaves; returns its exit status."""
  from metabin_jax.runtime import distributed

  status = explain("train", error)
  if status is not None:
    if joined:
      _say("metabin train: this host leaves; the others end when they notice.")
    return status
  if distributed.is_lost_host(error):
    _say(
      "metabin train: another host has left or cannot be reached, and has said "
      "why if it could; the same command on all of them continues from the "
      f"last checkpoint. ({str(error).splitlines()[0]})"
    )
  else:
    traceback.print_exc()
  return FAILED


def _leave_without_hosts(why: str) -> None:
  """Ends the process at once: nothing has been written yet."""
  print(f"metabin train: {why}", file=sys.stderr)
  _leave(USER_MISTAKE)


def _leave(status: int) -> None:
  """Ends the process without JAX's word of farewell to the other hosts."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
