"""`metabin search`: find the images that are most like each query."""

from __future__ import annotations

import argparse
import csv
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError

if TYPE_CHECKING:
  from metabin_jax.runtime.gallery import Hit

_COLUMNS = ("query", "rank", "name", "cosine", "pid", "camid")


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin search --help`."""
  parser = arguments.Parser(
    "search",
    "Lists for each query the gallery images whose embeddings have the largest "
    "cosine with its own, by comparing it with all of them.",
  )
  parser.add_argument(
    "--query",
    nargs="+",
    required=True,
    metavar="PLACE",
    help="a file of `metabin extract`, or with --run images as it takes them",
  )
  parser.add_argument(
    "--gallery",
    nargs="+",
    required=True,
    metavar="PLACE",
    help="a folder of `metabin index`, or as --query",
  )
  parser.add_argument("--run", metavar="RUN", help="workdir of a run")
  arguments.add_embedding(parser)
  data_options.add_arguments(parser)
  parser.add_argument(
    "--top",
    type=int,
    default=10,
    metavar="K",
    help="images to list for each query (default: 10)",
  )
  parser.add_argument(
    "--engine",
    choices=("auto", "faiss"),
    default="auto",
    help="what multiplies: auto: JAX on an accelerator, else NumPy; faiss: "
    "FAISS, if it is installed; both exact (default: auto)",
  )
  parser.add_argument(
    "--csv", type=pathlib.Path, metavar="FILE", help="write the list as CSV"
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the list as JSON"
  )
  try:
    args = parser.parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  for option in ("csv", "json"):
    outputs.check_file(f"--{option}", getattr(args, option))
  if args.top < 1:
    raise UserError(f"--top is {args.top}; list at least 1 image.")
  return _search(args)


def _search(args: argparse.Namespace) -> int:
  # Late imports: help and mistakes in flags should not wait for JAX.
  from metabin_jax.cli import embedded
  from metabin_jax.evaluation import top_k
  from metabin_jax.evaluation.table import save_json
  from metabin_jax.runtime import gallery_index
  from metabin_jax.runtime.gallery import Gallery

  if args.engine == "faiss":
    top_k.check_faiss()
  reader = embedded.Reader(args)
  gallery: Any
  if len(args.gallery) == 1 and gallery_index.is_index(args.gallery[0]):
    gallery = gallery_index.GalleryIndex(args.gallery[0])
  else:
    gallery = Gallery(reader.read("--gallery", args.gallery))
  queries = reader.read("--query", args.query)
  found = gallery.search(queries, args.top, place=args.engine)
  rows = [
    dict(zip(_COLUMNS, (query, rank, *_cells(hit)), strict=True))
    for query, hits in zip(queries.names, found, strict=True)
    for rank, hit in enumerate(hits, 1)
  ]
  _print(rows)
  if not rows:
    empty = "is no image in the gallery" if queries.names else "are no queries"
    print(f"nothing to list: there {empty}", file=sys.stderr)
  if args.csv:
    _save_csv(args.csv, rows)
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, {"card": gallery.card, "hits": rows})
  return 0


def _cells(hit: Hit) -> tuple[Any, ...]:
  return hit.name, hit.score, hit.pid, hit.camid


def _print(rows: Sequence[dict[str, Any]]) -> None:
  width = max((len(row["name"]) for row in rows), default=0)
  query = None
  for row in rows:
    if row["query"] != query:
      query = row["query"]
      print(f"{query}:")
    pid = f"  {row['pid']}" if row["pid"] else ""
    print(
      f"  {row['rank']:>3}  {row['cosine']:7.4f}  "
      f"{row['name']:<{width if pid else 0}}{pid}"
    )
  sys.stdout.flush()


def _save_csv(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f".{path.name}.part")
  try:
    with open(part, "w", encoding="utf-8", newline="") as file:
      writer = csv.DictWriter(file, _COLUMNS)
      writer.writeheader()
      writer.writerows(rows)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)
