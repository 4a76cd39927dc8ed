"""`metabin export`: a trained network as a file that other programs run."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from metabin_jax.cli import arguments, data_options, outputs

SAMPLES = 100
_MOST = 1000


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin export --help`."""
  parser = arguments.Parser(
    "export",
    "Writes a trained network, from pixels to embeddings, to a file that needs "
    "nothing of this package, compares the file with the package on images, "
    "and prints the largest difference. FILE.json says what the network takes, "
    "gives and was trained on.",
  )
  parser.add_argument("run", metavar="RUN", help="workdir of a run")
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    required=True,
    metavar="FILE",
    help="the file to write: .stablehlo (jax.export, for CPU, CUDA and TPU) or "
    ".onnx",
  )
  arguments.add_model(parser)
  parser.add_argument(
    "--images",
    nargs="+",
    metavar="IMAGES",
    help="what to compare on, named as for `metabin extract`; of more than "
    f"{_MOST:,} a part (default: {SAMPLES} rendered pictures)",
  )
  data_options.add_arguments(parser)
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--out", args.out)
  outputs.check_file("--out", args.out.with_name(f"{args.out.name}.json"))
  from metabin_jax.interop import formats

  formats.check_suffix("--out", args.out)
  return _export(args)


def _export(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.interop import formats
  from metabin_jax.runtime import compilation_cache, exporting, scoring

  formats.format_of(args.out).require()
  compilation_cache.enable()
  loaded = scoring.load_run(pathlib.Path(args.run), args.step)
  images = _images(args, loaded.config.data)
  if loaded.config.model.dtype != "float32":
    print(
      f"note: the run computes in {loaded.config.model.dtype}, the file and "
      "the comparison in float32",
      file=sys.stderr,
    )
  done = exporting.export(loaded, args.out, images, flip=args.flip)
  size, parity = args.out.stat().st_size / 1e6, done.parity
  shape = ", ".join(map(str, done.card["input"]["shape"]))
  print(
    f"{args.out}: {size:.1f} MB, step {loaded.step}, uint8 [{shape}] to "
    f"float32 [n, {done.card['embedding']['dim']}]"
  )
  print(
    f"largest difference from the package on {parity.images} images: "
    f"{parity.difference:.1e}, as a part of the embedding's length "
    f"{parity.relative:.1e} (limit: {exporting.LIMIT:.0e})"
  )
  return 0


def _images(args: argparse.Namespace, data: Any) -> Any:
  import numpy as np

  from metabin_jax.cli import embedded
  from metabin_jax.data import images, sample_pictures

  size = (data.height_px, data.width_px)
  if not args.images:
    return sample_pictures.draw(SAMPLES, *size)
  entries = embedded.list_images(args, args.images)
  chosen = entries[:: -(-len(entries) // _MOST)]
  return np.stack([images.load_image(entry.path, *size) for entry in chosen])
