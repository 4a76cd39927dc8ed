from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import embedding_file

FOUND = embedding_file.Embeddings(
  ("a.jpg", "ü/b.jpg", "c.jpg"),
  np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
  ("anna", "", "ben"),
  np.array([0, -1, 3], np.int64),
  {"model": {"step": 3}, "training": {"sources": []}},
)


@pytest.mark.parametrize("suffix", embedding_file.SUFFIXES)
def test_what_is_written_is_read(tmp_path, suffix):
  if suffix == ".parquet":
    pytest.importorskip("pyarrow")
  path = tmp_path / "new" / f"e{suffix}"
  embedding_file.save(path, FOUND)
  found = embedding_file.load(path)
  assert found.names == FOUND.names
  assert found.pids == FOUND.pids
  assert found.card == FOUND.card
  np.testing.assert_array_equal(found.vectors, FOUND.vectors)
  np.testing.assert_array_equal(found.camids, FOUND.camids)
  assert found.vectors.dtype == np.float32
  assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_npz_needs_nothing_of_ours(tmp_path):
  path = tmp_path / "e.npz"
  embedding_file.save(path, FOUND)
  with np.load(path, allow_pickle=False) as file:
    assert list(file["names"]) == list(FOUND.names)
    np.testing.assert_array_equal(file["embeddings"], FOUND.vectors)


def test_mistakes(tmp_path):
  with pytest.raises(UserError, match=r"says no format; choose one of \.npz, "):
    embedding_file.save(tmp_path / "e.csv", FOUND)
  with pytest.raises(UserError, match="does not exist; write it with `metabin"):
    embedding_file.load(tmp_path / "e.npz")
  np.savez(tmp_path / "e.npz", other=np.zeros(3))
  with pytest.raises(
    UserError, match="holds no embeddings of `metabin extract"
  ):
    embedding_file.load(tmp_path / "e.npz")
  embedding_file.save(tmp_path / "e.npz", FOUND)
  whole = (tmp_path / "e.npz").read_bytes()
  (tmp_path / "e.npz").write_bytes(whole[:-30])
  with pytest.raises(UserError, match="or is damaged"):
    embedding_file.load(tmp_path / "e.npz")
