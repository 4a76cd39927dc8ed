"""`metabin convert`: weights of other programs in, and out again."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from metabin_jax.cli import arguments, outputs
from metabin_jax.errors import UserError


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin convert --help`."""
  parser = arguments.Parser(
    "convert",
    "Turns weights of another program into a folder that `metabin evaluate` "
    "and the other commands take for a trained run; with --to, the weights of "
    "a run into a checkpoint of MetaBIN's own code.",
  )
  parser.add_argument(
    "weights",
    metavar="WEIGHTS",
    help="a file (safetensors, .npz, PyTorch) or hf:OWNER/NAME: a checkpoint "
    "of MetaBIN's own code, or a ResNet or MobileNetV2 as torchvision, timm or "
    "torchreid name their arrays; with --to: the workdir of a run",
  )
  target = parser.add_mutually_exclusive_group(required=True)
  target.add_argument(
    "--workdir", type=pathlib.Path, metavar="DIR", help="the folder to make"
  )
  target.add_argument(
    "--to",
    type=pathlib.Path,
    metavar="FILE",
    help="the file to write: .safetensors, .npz or .pth",
  )
  parser.add_argument(
    "--norm",
    help="arm of the network (default: that of the weights); instance norms "
    "and rho of another arm keep their initial values",
  )
  parser.add_argument(
    "--last-stride",
    type=int,
    choices=(1, 2),
    default=1,
    help="model.last_stride (default: 1, as re-identification uses it)",
  )
  arguments.add_size(parser)
  parser.add_argument(
    "--trained-on",
    metavar="NAMES",
    default="",
    help="public data sets behind the weights, as `metabin datasets` names "
    "them, separated by commas: their terms go with the folder, and targets "
    "that show the same persons are refused",
  )
  parser.add_argument(
    "--step", type=int, help="with --to: checkpoint; default: newest"
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write what was taken"
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--json", args.json)
  report = _export(args) if args.to else _import(args)
  if args.json:
    from metabin_jax.evaluation.table import save_json

    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, report)
  return 0


def _import(args: argparse.Namespace) -> dict[str, Any]:
  if args.step is not None:
    raise UserError("--step is for --to, which reads a run.")
  outputs.check_folder("--workdir", args.workdir)
  if pathlib.Path(args.weights).is_dir():
    # What a run knows of its training data and its settings would be lost.
    raise UserError(
      f"{args.weights} is a folder, and --workdir wants a file or "
      "hf:OWNER/NAME; a run needs no conversion: copy its folder, or train on "
      "from it by --config.model.pretrained."
    )
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.runtime import compilation_cache, converted, pretrained

  compilation_cache.enable()
  record = converted.create_run(
    args.workdir,
    pretrained.load(args.weights),
    norm=args.norm,
    last_stride=args.last_stride,
    height=args.height,
    width=args.width,
    trained_on=[name for name in args.trained_on.split(",") if name],
  )
  print(*pretrained.lines(record), sep="\n")
  print(f"{args.workdir}: ready for `metabin evaluate {args.workdir} ...`")
  return record


def _export(args: argparse.Namespace) -> dict[str, Any]:
  outputs.check_file("--to", args.to)
  from metabin_jax.interop import weight_files
  from metabin_jax.runtime import converted

  arrays, loaded = converted.to_official(pathlib.Path(args.weights), args.step)
  weight_files.save(args.to, arrays)
  print(
    f"{args.to}: {len(arrays)} arrays of step {loaded.step}, named as "
    "MetaBIN's own code names them"
  )
  return {"arrays": len(arrays), "step": loaded.step, "file": str(args.to)}
