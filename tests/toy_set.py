"""A made-up public data set with every peculiarity that a builder meets."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping

from miniatures import pictures

from metabin_jax.data.public.definition import (
  DISTRACTOR,
  JUNK,
  PERSON,
  Count,
  FoldNames,
  Item,
  Listing,
  PublicSet,
  Splits,
)
from metabin_jax.errors import UserError

LISTS = "lists.json"
NOTE = "Toy persons are not real."
# Folder, person, camera, suffix. The person 0000 is a distractor, -1 is junk.
_FILES = (
  ("test", -1, 1, "png"),
  ("test", 0, 2, "jpg"),
  ("test", 11, 1, "jpg"),
  ("test", 11, 2, "png"),
  ("test", 12, 1, "bmp"),
  ("test", 12, 2, "jpg"),
  ("train", 7, 1, "jpg"),
  ("train", 7, 2, "png"),
  ("train", 3, 1, "bmp"),
  ("train", -1, 2, "jpg"),
  ("train", 10, 2, "jpg"),
)
EXPECTED = {
  "train": Count(4, 3),
  "train junk": Count(1, 1),
  "query": Count(2, 2),
  "gallery": Count(2, 2),
  "gallery distractor": Count(1, 1),
  "query junk": Count(1, 1),
}


def build(folder: pathlib.Path) -> pathlib.Path:
  """Writes both kinds of the set and its lists; returns its root."""
  root = folder / "Toy"
  for kind, size in (("detected", (6, 12)), ("labeled", (8, 16))):
    for index, (part, pid, camera, suffix) in enumerate(_FILES):
      path = root / kind / part / f"{pid}_c{camera}.{suffix}"
      pictures.write(path, pid, camera, index, size)
  (root / LISTS).write_text(json.dumps(["test/12_c1.bmp"]))
  return root


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  base = pathlib.Path(root, options["type"])
  items = []
  for path in base.glob("*/*"):
    pid, camera = path.stem.split("_c")
    part = path.parent.name
    if part == "test":
      part = "query" if camera == "1" else "gallery"
    role = {"-1": JUNK, "0": DISTRACTOR}.get(pid, PERSON)
    name = f"{path.parent.name}/{path.name}"
    items.append(Item(str(path), name, pid, int(camera), part, role))
  return Listing(
    root=root,
    items=tuple(sorted(items, key=lambda item: item.name)),
    expected=EXPECTED,
    variant=options["type"],
  )


def make_splits(listing: Listing, protocol: str, place: str) -> Splits:
  """Protocol "lists" needs a file, "pairs" makes its own."""
  there = [item.name for item in listing.items if item.role != JUNK]
  if protocol == "pairs":
    folds = tuple(
      FoldNames(pid, (f"test/{pid}_c1.{a}",), (f"test/{pid}_c2.{b}",))
      for pid, a, b in (("11", "jpg", "png"), ("12", "bmp", "jpg"))
    )
    return Splits("pairs", "generated", folds)
  path = os.path.join(place or listing.root, LISTS)
  if not os.path.isfile(path):
    raise UserError(f"{path} does not exist; protocol lists needs it.")
  query = json.loads(pathlib.Path(path).read_text())
  gallery = tuple(name for name in there if name.split("_c")[1][0] == "2")
  return Splits("lists", LISTS, (FoldNames("1", tuple(query), gallery),))


TOY = PublicSet(
  name="toy_reid",
  title="Toy",
  roots=("Toy", "toy"),
  layout="detected/ and labeled/",
  request="the toy shop",
  terms="Play fair.",
  citation="Nobody, Toys, 2026",
  list_items=list_items,
  options={"type": ("detected", "labeled")},
  notes=(NOTE,),
)

# The same with split lists; "lists" are in a file beside the images.
TOY_LISTS = dataclasses.replace(
  TOY,
  name="toy_lists",
  title="Toy with lists",
  options={"type": ("detected",)},
  protocols=("pairs", "lists"),
  make_splits=make_splits,
)
