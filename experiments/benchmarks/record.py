"""JSON of a benchmark: what was asked, where, when and by which code."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

import metabin_jax

HERE = pathlib.Path(__file__).parent


def save(
  file: pathlib.Path | None, args: argparse.Namespace, found: dict[str, Any]
) -> None:
  """Writes a record, if a file is asked for.

  Args:
    file: None writes nothing.
    args: of the command.
    found: what was measured.
  """
  if file is None:
    return
  place = {
    "arguments": {k: str(v) for k, v in vars(args).items() if k != "json"},
    "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    "commit": commit(),
    "device": jax.devices()[0].device_kind,
    "devices": jax.device_count(),
    "processor": processor(),
    "cores": os.cpu_count(),
    "versions": {
      "metabin_jax": metabin_jax.__version__,
      "jax": jax.__version__,
      "python": platform.python_version(),
    },
  }
  file.write_text(json.dumps(place | found, indent=2) + "\n")


def processor() -> str:
  """Its name, as the system has it."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  names = [x.partition(":")[2].strip() for x in lines if "model name" in x]
  return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
  """Git revision, with a + for changes that are not in it."""
  words = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+"]
  try:
    found = subprocess.run(words, capture_output=True, text=True, check=False)
  except OSError:
    return None
  return found.stdout.strip() or None
