"""Data sets and facts of files that the tests of the doctor make up."""

from __future__ import annotations

import pytest

from metabin_jax.data.doctor.files import FileFacts
from metabin_jax.data.records import DataSet, Fold, Record


@pytest.fixture
def rec():
  """rec(pid, camid, path) -> a record of the data set before the slash."""

  def make(pid, camid=1, path=None):
    path = path or f"/none/{pid}_{camid}.jpg"
    return Record(path, pid, camid, pid.partition("/")[0])

  return make


@pytest.fixture
def dataset():
  """dataset(name, train, (query, gallery), ...) with folds "0", "1", ..."""

  def make(name, train=(), *folds):
    return DataSet(
      name,
      tuple(train),
      tuple(
        Fold(str(number), tuple(query), tuple(gallery))
        for number, (query, gallery) in enumerate(folds)
      ),
    )

  return make


@pytest.fixture
def facts_of():
  """facts_of({path: content}) -> facts; files of one content are the same."""

  def make(contents):
    return {
      path: FileFacts(content, 20, 40, "JPEG", "")
      for path, content in contents.items()
    }

  return make
