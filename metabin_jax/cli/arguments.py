"""Command lines of all commands but `train`, which has absl's flags."""

from __future__ import annotations

import argparse

from metabin_jax.errors import UserError


class Parser(argparse.ArgumentParser):
  """A parser whose errors are UserErrors, so that every command ends alike."""

  def __init__(self, command: str, description: str):
    """Makes a parser without options but --help.

    Args:
      command: its name after "metabin".
      description: what it does, for the help.
    """
    super().__init__(
      prog=f"metabin {command}", description=description, allow_abbrev=False
    )

  def error(self, message: str):
    """Raises a UserError that points to the help."""
    raise UserError(f"{message}; see `{self.prog} --help`.")


def add_size(parser: argparse.ArgumentParser) -> None:
  """Adds --height and --width, the size of the network's images in pixels."""
  for name, default in (("height", 256), ("width", 128)):
    parser.add_argument(
      f"--{name}",
      type=_pixels,
      default=default,
      help=f"data.{name}_px (default: {default})",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that say what of a run embeds images."""
  parser.add_argument("--step", type=int, help="checkpoint; default: newest")
  parser.add_argument(
    "--flip",
    action=argparse.BooleanOptionalAction,
    help="embed each image and its mirror image (default: as the run is "
    "configured)",
  )


def add_embedding(parser: argparse.ArgumentParser) -> None:
  """Adds the flags of all commands that embed images by a run."""
  add_model(parser)
  parser.add_argument(
    "--batch-size",
    type=count,
    default=64,
    metavar="N",
    help="images of one call of the network (default: 64)",
  )
  parser.add_argument(
    "--devices",
    type=int,
    default=1,
    metavar="N",
    help="devices that share each batch, 0 for all (default: 1)",
  )


def count(text: str) -> int:
  """Reads a whole number from 1, for `type` of a flag."""
  return whole_number(text, 1, "no such number")


def seed(text: str) -> int:
  """Reads a whole number from 0, for `type` of a flag."""
  return whole_number(text, 0, "no such number")


def _pixels(text: str) -> int:
  return whole_number(text, 1, "not a number of pixels")


def whole_number(text: str, least: int, fault: str) -> int:
  """Reads a whole number from `least` on.

  Raises:
    ArgumentTypeError: says that other text is `fault`.
  """
  # str.isdigit alone accepts superscripts.
  if text.isascii() and text.isdigit() and int(text) >= least:
    return int(text)
  raise argparse.ArgumentTypeError(
    f"{text} is {fault}; write a whole number from {least}"
  )
