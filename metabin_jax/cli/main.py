"""`metabin COMMAND ...`, also `python -m metabin_jax COMMAND ...`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from metabin_jax import __version__
from metabin_jax.cli import interrupts
from metabin_jax.errors import UserError

# Command -> module with `run(argv) -> exit status`, and a line of help.
COMMANDS = {
  "train": ("metabin_jax.cli.train", "train a network, or continue a run"),
  "evaluate": ("metabin_jax.cli.evaluate", "score runs on unseen data sets"),
  "check-data": ("metabin_jax.cli.check_data", "say what is in data sets"),
  "datasets": ("metabin_jax.cli.datasets", "list public data sets"),
  "convert": ("metabin_jax.cli.convert", "weights in and out"),
  "extract": ("metabin_jax.cli.extract", "embeddings of images, in a file"),
  "export": ("metabin_jax.cli.export", "StableHLO and ONNX files"),
  "calibrate": ("metabin_jax.cli.calibrate", "a threshold for a match rate"),
  "compare": ("metabin_jax.cli.compare", "how alike two images are"),
  "index": ("metabin_jax.cli.index", "a gallery on disk that grows"),
  "search": ("metabin_jax.cli.search", "find persons in a gallery"),
  "prepare": ("metabin_jax.cli.prepare", "resize training images once"),
  "figures": ("metabin_jax.cli.figures", "draw what runs have learned"),
  "report": ("metabin_jax.cli.report", "one page about a run"),
  "repro": ("metabin_jax.cli.repro", "reproduce a table or figure"),
}
FAILED = 1
USER_MISTAKE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a command.

  Args:
    argv: the words after `metabin`; None takes them from the process.

  Returns:
    Exit status: 0 if what was asked was done, 2 for a mistake that the user
    can mend (one line on standard error says how), 1 for a failed run, 128
    and the signal's number for one that a signal has stopped.
  """
  words = list(sys.argv[1:] if argv is None else argv)
  if not words:
    print(_usage(), file=sys.stderr)
    return USER_MISTAKE
  if words[0] in ("-h", "--help", "help"):
    print(_usage())
    return 0
  if words[0] == "--version":
    print(__version__)
    return 0
  command, rest = words[0], words[1:]
  if command not in COMMANDS:
    print(f"metabin: unknown command {command!r}.\n{_usage()}", file=sys.stderr)
    return USER_MISTAKE
  return call(command, rest)


def run_program() -> NoReturn:
  """The program `metabin`: `main`, and the end of the process."""
  status = main()
  # Threads of JAX may still compute and crash while Python shuts down. A run
  # in training has ended in order, and other hosts wait for it to say so.
  if status == INTERRUPTED and sys.argv[1] != "train":
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


def call(command: str, argv: Sequence[str]) -> int:
  """Runs one command and turns its errors into exit statuses."""
  try:
    with interrupts.watch() as interrupt:
      try:
        module = importlib.import_module(COMMANDS[command][0])
        return module.run(list(argv))
      except Exception as error:
        # Libraries turn Ctrl-C into errors of their own.
        if interrupt.asked and not isinstance(error, UserError):
          raise KeyboardInterrupt from error
        raise
  except (Exception, KeyboardInterrupt) as error:
    status = explain(command, error)
    if status is None:
      raise
    return status


def explain(command: str, error: BaseException) -> int | None:
  """Prints a sentence on an error; returns the exit status, None for a bug."""
  if isinstance(error, UserError):
    text, status = str(error), USER_MISTAKE
  elif isinstance(error, OSError):
    place = f"{error.filename}: " if error.filename else ""
    text = (
      f"{place}{error.strerror or error}; check the path, its permissions and "
      "the space left, and run the command again."
    )
    status = USER_MISTAKE
  elif isinstance(error, KeyboardInterrupt):
    text, status = "interrupted", INTERRUPTED
  else:
    # Late import: its module needs JAX, which mistakes in flags do not.
    from metabin_jax.runtime.finite import NonFiniteError

    if not isinstance(error, NonFiniteError):
      return None
    text, status = str(error), FAILED
  print(f"metabin {command}: {text}", file=sys.stderr)
  return status


def _usage() -> str:
  lines = ["usage: metabin COMMAND [options]", "", "commands:"]
  lines += [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
  lines += ["", "`metabin COMMAND --help` says more."]
  return "\n".join(lines)


if __name__ == "__main__":
  run_program()
