"""Flags of the benchmarks of several devices; imports no JAX."""

from __future__ import annotations

import argparse
import os
import pathlib
from typing import Any


def parse(description: str | None, more=(), **defaults: Any):
  """Reads the command line, and pretends devices if it says so.

  Args:
    description: the module's docstring.
    more: (flag, options) pairs of `add_argument`.
    defaults: of network, batch, height, width and classes.
  """
  parser = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--pretend", type=int, help="CPU devices")
  parser.add_argument("--network")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--batch", type=int, help="multiple of 20")
  parser.add_argument("--height", type=int)
  parser.add_argument("--width", type=int, help="of the images")
  parser.add_argument("--classes", type=int)
  for flag, options in more:
    parser.add_argument(flag, **options)
  parser.add_argument("--json", type=pathlib.Path)
  parser.set_defaults(**defaults)
  args = parser.parse_args()
  if args.pretend:
    flag = f"--xla_force_host_platform_device_count={args.pretend}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    os.environ["JAX_PLATFORMS"] = "cpu"
  return args
