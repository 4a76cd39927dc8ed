"""CAVIAR4REID: persons in a shopping centre, for training only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from metabin_jax.data.listing import list_folder
from metabin_jax.data.public.definition import (
  ALL,
  STANDARD,
  TRAIN,
  Count,
  Item,
  Listing,
  PublicSet,
)
from metabin_jax.data.records import UNKNOWN_CAMERA

GRAMMAR = re.compile(r"(?P<pid>\d{4})(?P<image>\d{3})\.jpg")

# Source: the data table of fast-reid's DG-ReID project, which agrees with the
# authors' 50 persons in two cameras and 22 in one, ten images each.
EXPECTED = {"train": Count(1220, 72)}


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the images; their names do not tell which camera took them."""
  del options
  root = os.path.abspath(root)
  items: list[Item] = []
  unknown: list[str] = []
  for file in list_folder(root)[0]:
    match = GRAMMAR.fullmatch(file)
    if match:
      path = os.path.join(root, file)
      items.append(Item(path, file, match["pid"], UNKNOWN_CAMERA, "train"))
    else:
      unknown.append(file)
  return Listing(root, tuple(items), EXPECTED, unknown=tuple(unknown))


CAVIAR = PublicSet(
  name="caviar",
  title="CAVIAR4REID",
  roots=("CAVIARa", "CAVIAR4REID/CAVIARa", "CAVIAR4REID"),
  layout="<person><image>.jpg, four and three digits, in the folder CAVIARa",
  request="the authors' page on CAVIAR4REID (University of Verona)",
  terms="For research; ask the authors before any other use.",
  citation=(
    "D. S. Cheng, M. Cristani, M. Stoppa, L. Bazzani, V. Murino, Custom "
    "Pictorial Structures for Re-identification, BMVC 2011"
  ),
  list_items=list_items,
  uses=(ALL, STANDARD, TRAIN),
)
