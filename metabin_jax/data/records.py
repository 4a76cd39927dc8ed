"""One image's description, and the groups that images come in."""

from __future__ import annotations

import dataclasses

UNKNOWN_CAMERA = -1
MAX_CAMERA = 2**31 - 1  # training keeps cameras as int32


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
  """One image and its labels.

  Attributes:
    path: absolute path of the image file.
    pid: person id that is unique among all data sets,
      "<data set name>/<id as written>".
    camid: camera number >= 0, or `UNKNOWN_CAMERA`.
    domain: label of the style domain; persons may occur in several domains.
  """

  path: str
  pid: str
  camid: int
  domain: str


@dataclasses.dataclass(frozen=True)
class Fold:
  """One retrieval test: each query is searched for in the gallery."""

  name: str
  query: tuple[Record, ...]
  gallery: tuple[Record, ...]


@dataclasses.dataclass(frozen=True)
class Provenance:
  """Where a data set comes from: what a reader of its results must know.

  Attributes:
    public: name of the public data set, "" for other data.
    variant: which of its packagings, for example "detected".
    protocol: name of the split lists, "" if the data set has none of its own.
    origin: where the split lists come from, for example a file.
    notes: sentences that every result on this data repeats.
  """

  public: str = ""
  variant: str = ""
  protocol: str = ""
  origin: str = ""
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A named collection.

  Attributes:
    name: prefix of the pids.
    train: images used when the data set is a training source.
    folds: tests that are run (and averaged) when it is a target.
    provenance: where it comes from.
  """

  name: str
  train: tuple[Record, ...] = ()
  folds: tuple[Fold, ...] = ()
  provenance: Provenance = Provenance()
