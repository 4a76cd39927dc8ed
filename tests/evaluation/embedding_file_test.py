from __future__ import annotations

import json

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import embedding_file

FOUND = embedding_file.Embeddings(
  ("a.jpg", "ü/b.jpg", "c.jpg"),
  np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
  ("anna", "", "ben"),
  np.array([0, -1, 3], np.int64),
  {
    "model": {"run": "own", "step": 3, "sha256": "0" * 64},
    "embedding": {"dim": 4, "flip": False},
    "training": {"sources": []},
  },
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


def test_paths_may_be_texts(tmp_path):
  path = str(tmp_path / "e.npz")
  embedding_file.check_suffix("--out", path)
  embedding_file.save(path, FOUND)
  assert embedding_file.load(path).names == FOUND.names


def test_names_that_are_not_utf_8(tmp_path):
  odd = FOUND._replace(names=("a.jpg", "b.jpg", "lat\udce9.png"))
  embedding_file.save(tmp_path / "e.npz", odd)
  assert embedding_file.load(tmp_path / "e.npz").names == odd.names
  pytest.importorskip("pyarrow")
  with pytest.raises(
    UserError, match=r"'lat\\udce9.png' is not UTF-8.* or write a \.npz file"
  ):
    embedding_file.save(tmp_path / "new" / "e.parquet", odd)
  assert not (tmp_path / "new").exists()


def card(**changed):
  return np.array(json.dumps({**FOUND.card, **changed}))


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    (
      {"pids": np.array(["a"])},
      "3 names, 3 embeddings, 1 pids, 3 camids, want",
    ),
    ({"names": np.array(["a"] * 4)}, "4 names, 3 embeddings"),
    ({"camids": np.zeros((3, 1), int)}, r"\(3, 1\) camids"),
    ({"camids": np.zeros(3)}, "camids are float64, want whole numbers"),
    ({"names": np.arange(3)}, "names and pids must be texts"),
    ({"embeddings": np.zeros(3)}, r"float64 of shape \(3,\), want floating"),
    ({"embeddings": np.zeros((3, 4), int)}, "embeddings are int64 of shape"),
    ({"embeddings": np.zeros((3, 5))}, "have 5 numbers and its card says 4"),
    ({"card": np.array("[]")}, r"its card does not say model\.run \(str\)"),
    ({"card": card(model={})}, r"does not say model\.run"),
    ({"card": card(model=None)}, r"does not say model\.run"),
    ({"card": card(embedding={"dim": True})}, r"say embedding\.dim \(int\)"),
    ({"card": np.array("{")}, "or is damaged"),
  ],
)
def test_files_that_contradict_themselves(tmp_path, changed, message):
  path = tmp_path / "e.npz"
  embedding_file.save(path, FOUND)
  with np.load(path) as file:
    parts = {**file, **changed}
  np.savez(path, **parts)
  with pytest.raises(UserError, match=message) as raised:
    embedding_file.load(path)
  assert str(path) in str(raised.value)


def test_a_parquet_file_of_something_else(tmp_path):
  arrow = pytest.importorskip("pyarrow")
  parquet = pytest.importorskip("pyarrow.parquet")
  path = tmp_path / "e.parquet"
  embedding_file.save(path, FOUND)
  table = parquet.read_table(path)
  parquet.write_table(table.replace_schema_metadata({}), path)
  with pytest.raises(UserError, match="holds no embeddings"):
    embedding_file.load(path)
  names = arrow.array(["a.jpg", None, "c.jpg"])
  parquet.write_table(table.set_column(0, "name", names), path)
  with pytest.raises(UserError, match="names and pids must be texts"):
    embedding_file.load(path)


def test_an_array_is_no_file_of_embeddings(tmp_path):
  with open(tmp_path / "e.npz", "wb") as file:
    np.save(file, np.zeros(3))
  with pytest.raises(UserError, match="holds no embeddings"):
    embedding_file.load(tmp_path / "e.npz")
