"""Options of `metabin repro`."""

from __future__ import annotations

import argparse
import pathlib

from metabin_jax.cli import arguments, data_options


def make_parser() -> arguments.Parser:
  """The parser of the command line."""
  parser = arguments.Parser(
    "repro",
    "Trains and scores what a table or figure of the paper compares. A stopped "
    "call is continued by the same call; finished runs are used again.",
  )
  parser.add_argument(
    "study",
    nargs="?",
    metavar="STUDY",
    help="a study of `metabin repro --list`, or `all`",
  )
  parser.add_argument(
    "--list",
    action="store_true",
    help="list the studies, or the runs of a study, and do nothing",
  )
  parser.add_argument(
    "--scale",
    choices=("quick", "full"),
    default="quick",
    help="quick (default): rendered people, minutes a run on a CPU; full: the "
    "published data sets below $METABIN_DATA",
  )
  parser.add_argument(
    "--seeds",
    default="1",
    metavar="N|LIST",
    help="number of seeds, from 2020 on, or the seeds: 2020,2021 (default: 1)",
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    default=pathlib.Path("runs/repro"),
    metavar="DIR",
    help="runs and tables (default: runs/repro)",
  )
  parser.add_argument(
    "--part",
    type=_part,
    metavar="I/N",
    help="only every N-th run from the I-th on, 0 <= I < N, and no tables: for "
    "several machines that share DIR; --collect then makes the tables",
  )
  parser.add_argument(
    "--jobs", type=_count, default=1, metavar="N", help="runs at a time"
  )
  parser.add_argument(
    "--collect", action="store_true", help="make tables of what is finished"
  )
  parser.add_argument(
    "--arms", metavar="A,B", help="keep only rows of these arms"
  )
  parser.add_argument(
    "--settings",
    metavar="A,B",
    help="keep only rows of these settings: dg, single-a, single-b, supervised",
  )
  parser.add_argument(
    "--add-arm",
    action="append",
    default=[],
    type=pathlib.Path,
    metavar="FILE",
    help="a row of your own: a Python file with get_config(scale)",
  )
  parser.add_argument(
    "--add-target",
    action="append",
    default=[],
    metavar="SPEC",
    help="score all runs on a further data set too, not part of the average",
  )
  parser.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="change a configuration key in every run",
  )
  parser.add_argument(
    "--figures",
    action="store_true",
    help="also draw the table's bars, and rho, losses and t-SNE of the first "
    "seed's runs of each setting",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="also write the tables"
  )
  data_options.add_arguments(parser)
  return parser


def _part(text: str) -> tuple[int, int]:
  index, _, count = text.partition("/")
  if index.isdecimal() and count.isdecimal() and int(index) < int(count):
    return int(index), int(count)
  raise argparse.ArgumentTypeError(
    f"{text} is no part; write I/N with I from 0 to N - 1, such as 0/2 and "
    "1/2 for two machines"
  )


def _count(text: str) -> int:
  if text.isdecimal() and int(text):
    return int(text)
  raise argparse.ArgumentTypeError(
    f"{text} is no number of processes; write a whole number from 1"
  )
