"""Public data sets prepared with TFDS, for tests."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from typing import Any

from metabin_jax.data import splits
from metabin_jax.data.records import DataSet, Record


@functools.cache
def builder_of(name: str) -> Any:
  """The builder of a set of `toy_set`; TFDS takes a name once only."""
  import toy_set

  from metabin_jax.data.tfds_builders.builder import make_builder

  return make_builder(getattr(toy_set, name))


def prepare(
  builder_class: Any, manual_dir: pathlib.Path, data_dir: pathlib.Path, **words
) -> Any:
  """Prepares a set.

  Args:
    builder_class: a `ReidBuilder`.
    manual_dir: the user's folder.
    data_dir: where TFDS writes.
    **words: of the builder.

  Returns:
    The builder, prepared.
  """
  import tensorflow_datasets as tfds

  builder = builder_class(data_dir=data_dir, **words)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
  )
  return builder


def files_below(folder: str | os.PathLike[str]) -> dict[str, bytes]:
  """Content of every file, by its path below the folder."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(pathlib.Path(folder).rglob("*"))
    if path.is_file()
  }


def prepare_toy(
  root: pathlib.Path, data_dir: pathlib.Path, name: str, **words
) -> str:
  """Prepares a set of `toy_set`; returns the folder."""
  return str(prepare(builder_of(name), root, data_dir, **words).data_dir)


def records(dataset: DataSet) -> list[Record]:
  """All training records, then those of each fold."""
  parts = [dataset.train]
  for fold in dataset.folds:
    parts += [fold.query, fold.gallery]
  return [record for part in parts for record in part]


def without_folders(dataset: DataSet) -> DataSet:
  """The data set with base names for paths."""

  def short(part):
    return tuple(
      dataclasses.replace(record, path=os.path.basename(record.path))
      for record in part
    )

  folds = tuple(
    dataclasses.replace(f, query=short(f.query), gallery=short(f.gallery))
    for f in dataset.folds
  )
  return dataclasses.replace(dataset, train=short(dataset.train), folds=folds)


def assert_same(found: DataSet, wanted: DataSet) -> None:
  """Same records, folds, provenance and image files."""
  assert without_folders(found) == without_folders(wanted)
  assert splits.split_digest(found) == splits.split_digest(wanted)
  pairs = list(zip(records(found), records(wanted), strict=True))
  assert pairs
  for one, other in pairs:
    assert one.path != other.path
    data = pathlib.Path(other.path).read_bytes()
    assert pathlib.Path(one.path).read_bytes() == data
