"""`metabin extract`: embeddings of images, in a file."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from metabin_jax.cli import arguments, data_options, outputs


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin extract --help`."""
  parser = arguments.Parser(
    "extract",
    "Embeds images by a trained network and writes names and embeddings to one "
    "file. A command that was stopped goes on where it was.",
  )
  parser.add_argument("run", metavar="RUN", help="workdir of a run")
  parser.add_argument(
    "images",
    nargs="+",
    metavar="IMAGES",
    help="a folder (with all below it), an image, a .txt file with a path on "
    "each line, a .csv file with a column path (pid and camid are kept), or a "
    "data set READER:PATH[?key=value]",
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    required=True,
    metavar="FILE",
    help="the file to write: .npz (names, embeddings, pids, camids) or "
    ".parquet",
  )
  arguments.add_embedding(parser)
  data_options.add_arguments(parser)
  parser.add_argument(
    "--skip-unreadable",
    action="store_true",
    help="leave out images that cannot be read, and list them at the end "
    "(default: end at the first)",
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--out", args.out)
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.evaluation import embedding_file

  embedding_file.check_suffix("--out", args.out)
  return _extract(args)


def _extract(args: argparse.Namespace) -> int:
  from metabin_jax.cli import embedded
  from metabin_jax.evaluation import embedding_file
  from metabin_jax.runtime import extraction

  entries = embedded.list_images(args, args.images)
  texts = [text for entry in entries for text in (entry.name, entry.pid)]
  embedding_file.check_texts(args.out, texts)
  with extraction.claim("--out", args.out) as folder:
    network = embedded.load_extractor(args)
    try:
      found, bad = _embed(args, network, entries, folder)
      embedding_file.save(args.out, found)
    except BaseException:
      # Whatever has ended it; the error itself is printed by `main`.
      _say(extraction.waiting(folder))
      raise
    extraction.remove(folder)
  for image in bad:
    _say(f"left out {image.name}: {image.reason}")
  count, dim = found.vectors.shape
  left = f", {len(bad)} left out" if bad else ""
  print(f"{args.out}: {count:,} embeddings of {dim} numbers{left}")
  return 0


def _embed(args, network, entries, folder):
  """Embeds behind a progress bar."""
  import tqdm

  from metabin_jax.runtime import extraction

  with tqdm.tqdm(total=len(entries), unit="image", disable=None) as bar:
    return extraction.extract(
      network,
      entries,
      folder,
      skip=args.skip_unreadable,
      say=_say,
      show=lambda done: bar.update(done - bar.n),
    )


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
