"""What a parser of a public data set says: about the set, and of its files."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

# Roles of an image.
PERSON = "person"
# Shows somebody or something else: stays in the gallery, is not trained on.
DISTRACTOR = "distractor"
# Bad detection: neither right nor wrong, so it is left out everywhere.
JUNK = "junk"
ROLES = (PERSON, DISTRACTOR, JUNK)

# Uses of a data set, key `use` of its description.
STANDARD = "standard"
"""Its own train part and its own query and gallery."""
ALL = "all"
"""Every image of a person, those of the test part too, is training data."""
TRAIN = "train"
"""Its own train part alone."""


class Item(NamedTuple):
  """One image file as its data set describes it.

  Attributes:
    path: absolute path of a readable image.
    name: path within the set with "/" between parts, the same on every
      machine; unique.
    pid: person as the set writes it, made unique within the set
      ("P1_001" if numbers start again in each part).
    camid: camera number as written, or `records.UNKNOWN_CAMERA`.
    part: "train", "query", "gallery", or "images" if the set has no such parts.
    role: one of `ROLES`.
  """

  path: str
  name: str
  pid: str
  camid: int
  part: str
  role: str = PERSON


class Count(NamedTuple):
  """Numbers of images and of different persons."""

  images: int
  pids: int


@dataclasses.dataclass(frozen=True)
class Listing:
  """What a parser has found.

  Attributes:
    root: folder that was read.
    items: by name.
    expected: what the published set has, by group (see `tally`).
    variant: which packaging this is, "" if there is only one.
    missing: names that ought to be there and are not, as far as the layout or
      a list of the set tells.
    unknown: image files whose names do not fit the grammar.
  """

  root: str
  items: tuple[Item, ...]
  expected: Mapping[str, Count]
  variant: str = ""
  missing: tuple[str, ...] = ()
  unknown: tuple[str, ...] = ()


class FoldNames(NamedTuple):
  """One split: names of the queries and of the gallery images."""

  name: str
  query: tuple[str, ...]
  gallery: tuple[str, ...]


class Splits(NamedTuple):
  """Named split lists.

  Attributes:
    protocol: whose protocol, for example "metabin".
    origin: "generated (...)" or the authors' file.
    folds: the splits.
  """

  protocol: str
  origin: str
  folds: tuple[FoldNames, ...]


@dataclasses.dataclass(frozen=True)
class PublicSet:
  """Everything known about a public data set.

  Attributes:
    name: reader name and default data set name, lower case.
    title: as its authors write it.
    roots: accepted folder names, the authors' first.
    layout: one line, for messages and documents.
    request: where it is requested, in words; no download links to files.
    terms: on what terms, one sentence.
    citation: authors, title, venue, year.
    list_items: (root, options) -> Listing; options holds every key of
      `options`, chosen or default. Raises UserError if the layout is not there.
      Wrong counts are not its business.
    options: own keys of a description, each with its allowed values, the
      default first.
    uses: allowed values of `use`, the default first.
    protocols: names that `make_splits` knows, the default first; empty if the
      set has its own query and gallery or none.
    make_splits: (listing, protocol, place) -> Splits; place is a file or folder
      of the authors' lists, "" to look below the root, else generate.
    withdrawn: why it needs the key `licensed_copy=yes`; "" if it does not.
    overlaps: names of other sets with the same persons.
    notes: sentences that every result on it repeats.
  """

  name: str
  title: str
  roots: tuple[str, ...]
  layout: str
  request: str
  terms: str
  citation: str
  list_items: Callable[[str, Mapping[str, str]], Listing]
  options: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )
  uses: tuple[str, ...] = (STANDARD, ALL, TRAIN)
  protocols: tuple[str, ...] = ()
  make_splits: Callable[[Listing, str, str], Splits] | None = None
  withdrawn: str = ""
  overlaps: tuple[str, ...] = ()
  notes: tuple[str, ...] = ()


def tally(items: Iterable[Item]) -> dict[str, Count]:
  """Counts images and persons by group.

  Args:
    items: of one data set.

  Returns:
    Groups are the part for images of persons ("train"), and part and role for
    others ("gallery junk"); in order of first appearance.
  """
  images: collections.Counter[str] = collections.Counter()
  pids: dict[str, set[str]] = {}
  for item in items:
    group = item.part if item.role == PERSON else f"{item.part} {item.role}"
    images[group] += 1
    pids.setdefault(group, set()).add(item.pid)
  return {group: Count(images[group], len(pids[group])) for group in images}
