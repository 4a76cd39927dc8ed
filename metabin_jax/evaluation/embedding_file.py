"""Embeddings on disk with the names of their images: .npz or Parquet."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError

SUFFIXES = (".npz", ".parquet")
_CARD = "metabin"  # key of the description in a Parquet file
# What readers raise for files that are damaged or something else.
_BROKEN = (
  AttributeError,
  EOFError,
  KeyError,
  NotImplementedError,
  OSError,
  TypeError,
  ValueError,
  zipfile.BadZipFile,
  zlib.error,
)
# What others look up in the card, with its type.
_NEEDED = (
  ("model", "run", str),
  ("model", "step", int),
  ("model", "sha256", str),
  ("embedding", "dim", int),
  ("embedding", "flip", bool),
)

Path = str | os.PathLike[str]


class Embeddings(NamedTuple):
  """Embeddings and what belongs to each.

  Attributes:
    names: of the images, no two alike.
    vectors: float32 [N, D].
    pids: persons, "" where unknown.
    camids: int64 [N] cameras, -1 where unknown.
    card: which model has made them, and of what; JSON data.
  """

  names: tuple[str, ...]
  vectors: np.ndarray
  pids: tuple[str, ...]
  camids: np.ndarray
  card: dict[str, Any]


def check_suffix(option: str, path: Path) -> None:
  """Refuses a file name that says no format."""
  if pathlib.Path(path).suffix.lower() not in SUFFIXES:
    raise UserError(
      f"{option}={path} has an ending that says no format; choose one of "
      f"{', '.join(SUFFIXES)}."
    )


def check_texts(path: Path, texts: Sequence[str]) -> None:
  """Refuses names and persons that a file cannot hold, before any work.

  Args:
    path: the file that is to be written.
    texts: what it is to hold.

  Raises:
    UserError: if its format needs UTF-8, which names of files need not be, or a
      package that is not installed.
  """
  if pathlib.Path(path).suffix.lower() != ".parquet":
    return
  _pyarrow()
  for text in texts:
    try:
      text.encode("utf-8")
    except UnicodeEncodeError as error:
      raise UserError(
        f"the name {text!a} is not UTF-8, which Parquet cannot hold; "
        "rename the file, or write a .npz file."
      ) from error


def save(path: Path, embeddings: Embeddings) -> None:
  """Writes embeddings; the file is there in full or not at all.

  Args:
    path: ends in .npz or .parquet; a Parquet file has the columns name, pid,
      camid and embedding.
    embeddings: what to write.

  Raises:
    UserError: for another ending, if pyarrow is not installed, or for names
      that the format cannot hold.
  """
  path = pathlib.Path(path)
  check_suffix("the file", path)
  check_texts(path, [*embeddings.names, *embeddings.pids])
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f".{path.name}.part")
  try:
    if path.suffix.lower() == ".npz":
      with open(part, "wb") as file:
        np.savez(
          file,
          names=_texts(embeddings.names),
          embeddings=embeddings.vectors,
          pids=_texts(embeddings.pids),
          camids=embeddings.camids,
          card=np.array(json.dumps(embeddings.card)),
        )
    else:
      _save_parquet(part, embeddings)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def load(path: Path) -> Embeddings:
  """Reads what `save` has written.

  Raises:
    UserError: if the file is missing, damaged or something else.
  """
  path = pathlib.Path(path)
  check_suffix("the file", path)
  try:
    if path.suffix.lower() == ".parquet":
      found = _load_parquet(path)
    else:
      found = _load_npz(path)
  except UserError:
    raise
  except FileNotFoundError as error:
    raise UserError(
      f"{path} does not exist; write it with `metabin extract`."
    ) from error
  except _BROKEN as error:
    raise UserError(
      f"{path} holds no embeddings of `metabin extract`, or is damaged "
      f"({error})."
    ) from error
  problem = _problem(found)
  if problem:
    raise UserError(
      f"{path} is no file of `metabin extract`: {problem}; write it anew."
    )
  return found


def unit_rows(embeddings: Embeddings, dim: int) -> np.ndarray:
  """Embeddings scaled to length 1.

  Args:
    embeddings: [N, D].
    dim: what D must be.

  Returns:
    float32 [N, D].

  Raises:
    UserError: for another D, repeated names, and embeddings that are zero or
      not finite.
  """
  vectors = np.asarray(embeddings.vectors, np.float32)
  if vectors.ndim != 2 or vectors.shape[1] != dim:
    raise UserError(f"embeddings have shape {vectors.shape}, want [N, {dim}].")
  if len(set(embeddings.names)) != len(embeddings.names):
    raise UserError("two embeddings have one name; names must differ.")
  length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
  bad = ~(np.isfinite(length) & (length > 0))[:, 0]
  if bad.any():
    raise UserError(
      f"the embedding of {embeddings.names[int(np.argmax(bad))]} is zero or "
      "not finite and has no direction; leave the image out."
    )
  return (vectors / length).astype(np.float32)


def _problem(found: Embeddings) -> str:
  """What in a file contradicts the rest of it, "" if nothing does."""
  vectors, camids = found.vectors, found.camids
  if vectors.ndim != 2 or vectors.dtype.kind != "f":
    return (
      f"its embeddings are {vectors.dtype} of shape {vectors.shape}, want "
      "floating-point [N, D]"
    )
  lengths = {
    "names": len(found.names),
    "embeddings": len(vectors),
    "pids": len(found.pids),
    "camids": camids.shape[0] if camids.ndim == 1 else camids.shape,
  }
  if set(lengths.values()) != {len(vectors)}:
    counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
    return f"it has {counts}, want one of each for each image"
  if not all(isinstance(text, str) for text in (*found.names, *found.pids)):
    return "names and pids must be texts"
  if camids.dtype.kind not in "iu":
    return f"its camids are {camids.dtype}, want whole numbers"
  for part, key, kind in _NEEDED:
    inner = found.card.get(part) if isinstance(found.card, dict) else None
    value = inner.get(key) if isinstance(inner, dict) else None
    # A bool is an int for Python.
    if type(value) is not kind:
      return f"its card does not say {part}.{key} ({kind.__name__})"
  dim = found.card["embedding"]["dim"]
  if vectors.shape[1] != dim:
    return (
      f"its embeddings have {vectors.shape[1]} numbers and its card says {dim}"
    )
  return ""


def _texts(texts: Sequence[str]) -> np.ndarray:
  # An empty list would become an array of floats.
  return np.array(texts, dtype=np.str_)


def _pyarrow() -> Any:
  try:
    importlib.import_module("pyarrow.parquet")
    return importlib.import_module("pyarrow")
  except ImportError as error:
    raise UserError(
      "Parquet files need the package pyarrow; install it with `pip install "
      "-e '.[parquet]'` in the repository's folder, or use .npz."
    ) from error


def _save_parquet(path: pathlib.Path, embeddings: Embeddings) -> None:
  arrow = _pyarrow()
  flat = arrow.array(np.ravel(embeddings.vectors))
  size = embeddings.vectors.shape[1]
  table = arrow.table(
    {
      "name": arrow.array(embeddings.names, arrow.string()),
      "pid": arrow.array(embeddings.pids, arrow.string()),
      "camid": arrow.array(embeddings.camids, arrow.int64()),
      "embedding": arrow.FixedSizeListArray.from_arrays(flat, size),
    }
  )
  table = table.replace_schema_metadata({_CARD: json.dumps(embeddings.card)})
  arrow.parquet.write_table(table, path)


def _load_npz(path: pathlib.Path) -> Embeddings:
  # Opened here: NumPy leaves a damaged file open.
  with open(path, "rb") as stream, np.load(stream) as file:
    return Embeddings(
      tuple(file["names"].tolist()),
      file["embeddings"],
      tuple(file["pids"].tolist()),
      file["camids"],
      json.loads(str(file["card"])),
    )


def _load_parquet(path: pathlib.Path) -> Embeddings:
  table = _pyarrow().parquet.read_table(path)
  column = table["embedding"].combine_chunks()
  vectors = column.flatten().to_numpy(zero_copy_only=False)
  return Embeddings(
    tuple(table["name"].to_pylist()),
    vectors.reshape(len(table), -1),
    tuple(table["pid"].to_pylist()),
    table["camid"].to_numpy(),
    json.loads((table.schema.metadata or {})[_CARD.encode()]),
  )
