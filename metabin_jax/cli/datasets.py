"""`metabin datasets`: which public data sets are there, and how to get them."""

from __future__ import annotations

import argparse
import difflib
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabin_jax.cli import arguments, data_options, outputs
from metabin_jax.errors import UserError

if TYPE_CHECKING:  # mistakes in flags should not wait for it
  from metabin_jax.data.public.definition import PublicSet

NOT_READY = 1
_FORMAT = "metabin-datasets-1"


def run(argv: Sequence[str]) -> int:
  """Runs the command; see `metabin datasets --help`."""
  try:
    args = _make_parser().parse_args(list(argv))
  except SystemExit as leave:  # --help
    return int(leave.code or 0)
  outputs.check_file("--json", args.json)
  if args.save_splits:
    outputs.check_folder("--save-splits", args.save_splits)
  # Late imports: help and mistakes in flags should not wait.
  from metabin_jax.data import listing, protocols
  from metabin_jax.data.doctor import inventory, inventory_text
  from metabin_jax.data.public.registry import PUBLIC_SETS
  from metabin_jax.evaluation.table import save_json

  for root in args.roots:
    if not os.path.isdir(root):
      raise listing.missing_path(root, "folder")
  roots = args.roots or [protocols.data_root()]
  entries = inventory.take_inventory(
    _choose(args.about, args.protocol, PUBLIC_SETS),
    roots,
    # The sets of a protocol are opened below, as a run opens them.
    count=args.count and not args.protocol,
    licensed_copy=args.licensed_copy,
  )
  data: dict[str, Any] = {
    "format": _FORMAT,
    "roots": roots,
    "datasets": [inventory.entry_json(entry) for entry in entries],
  }
  ready = not any(entry.fault for entry in entries)
  if args.about:
    print(inventory_text.format_entry(entries[0]))
  else:
    print(inventory_text.format_entries(entries, roots))
  specs = inventory.split_specs(entries)
  if args.protocol:
    readiness = inventory.check_protocol(
      args.protocol,
      roots,
      PUBLIC_SETS,
      open_sets=args.count,
      licensed_copy=args.licensed_copy,
      allow_partial=args.allow_partial,
    )
    print(inventory_text.format_readiness(readiness, entries))
    data["protocol"] = inventory.readiness_json(readiness)
    ready = ready and readiness.runs
    targets = protocols.specs(args.protocol, readiness.root)[1]
    specs = [
      spec
      for name, spec in zip(readiness.protocol.targets, targets, strict=True)
      if name not in readiness.missing
    ]
  if args.save_splits:
    allowed = {
      "licensed_copy": args.licensed_copy,
      "allow_partial": args.allow_partial,
    }
    saved = _save_splits(specs, args.save_splits, allowed)
    data["splits"] = saved
    ready = ready and not any("fault" in each for each in saved)
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    save_json(args.json, data)
  return 0 if ready else NOT_READY


def _make_parser() -> argparse.ArgumentParser:
  parser = arguments.Parser(
    "datasets",
    "Says which public data sets are there, and of others where "
    "they are requested. Nothing is fetched. Exit status: 0, or 1 if something "
    "that was asked for (complete sets, a protocol, split lists) is not there.",
  )
  parser.add_argument(
    "roots",
    nargs="*",
    metavar="ROOT",
    help="folders that hold data sets (default: $METABIN_DATA, else data)",
  )
  only = parser.add_mutually_exclusive_group()
  only.add_argument(
    "--protocol",
    metavar="NAME",
    help="only the sets of this experiment, and whether its folders are there; "
    "with --count, whether it can be run",
  )
  only.add_argument("--about", metavar="NAME", help="all about one set")
  parser.add_argument(
    "--count",
    action="store_true",
    help="read the sets that are there and compare with the published counts",
  )
  parser.add_argument(
    "--save-splits",
    type=pathlib.Path,
    metavar="DIR",
    help="write the split lists of the tests that are there, as "
    "<set>[-<variant>]-<protocol>.json",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write all that is known"
  )
  data_options.add_arguments(parser)
  return parser


def _choose(
  about: str | None, protocol: str | None, known: Mapping[str, PublicSet]
) -> list[PublicSet]:
  """The sets that are asked about."""
  from metabin_jax.data import protocols

  if about:
    if about not in known:
      near = difflib.get_close_matches(about, known, 1)
      hint = f" (did you mean {near[0]!r}?)" if near else ""
      raise UserError(
        f"--about={about}: no such data set{hint}; the known ones are "
        f"{', '.join(known)}."
      )
    return [known[about]]
  if protocol:
    chosen = protocols.get_protocol(protocol)
    names = dict.fromkeys(chosen.sources + chosen.targets)
    return [known[name] for name in names if name in known]
  return list(known.values())


def _save_splits(
  specs: Iterable[str], folder: pathlib.Path, allowed: Mapping[str, bool]
) -> list[dict[str, Any]]:
  """Writes a file for each description; says what was written, or why not."""
  from metabin_jax.data import splits
  from metabin_jax.data.doctor import inventory
  from metabin_jax.evaluation.table import save_json

  saved: list[dict[str, Any]] = []
  for spec in specs:
    try:
      dataset = inventory.open_test(spec, **allowed)
    except UserError as error:
      print(f"{spec} is not saved: {error}", file=sys.stderr)
      saved.append({"spec": spec, "fault": str(error)})
      continue
    lists = splits.to_json(dataset)
    parts = (
      lists["dataset"],
      # Packagings of a set have lists of their own: "detected, cuhk-03.mat".
      re.sub(r"[^A-Za-z0-9.]+", "-", dataset.provenance.variant).strip("-"),
      lists["protocol"] or "own",
    )
    file = folder / f"{'-'.join(filter(None, parts))}.json"
    folder.mkdir(parents=True, exist_ok=True)
    save_json(file, lists)
    print(f"{file}: {len(lists['folds'])} folds, sha256 {lists['sha256']}")
    saved.append({"spec": spec, "file": str(file), "sha256": lists["sha256"]})
  return saved
