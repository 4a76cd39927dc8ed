"""Reads a data set that `data.tfds_builders` has prepared.

The images are written out once below the cache folder, as they were in the
user's files, so that everything behind the reader sees ordinary files.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from metabin_jax.data import listing as folder_listing
from metabin_jax.data import pipeline, tfds_metadata
from metabin_jax.data.public import extraction, reading, registry
from metabin_jax.data.public.definition import Item, PublicSet
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError

KEYS = ("use", "protocol", "splits", reading.PARTIAL, reading.LICENSED)
"""Keys of a description besides `name` and `domain`; the set's own options
were chosen when it was prepared."""

_INFO = "dataset_info.json"
_FEATURES = ("image", "filename", "pid", "camid", "part", "role")
# Written last: where it is, all images were written, of the sizes it tells.
_INDEX = "index.json"
_IMAGES = "images"


def read_tfds(
  folder: str, *, name: str = "", options: Mapping[str, str]
) -> DataSet:
  """Reads a prepared TFDS data set.

  The first call writes the images to the cache folder and needs TFDS, and
  TensorFlow unless the files are ArrayRecord; a stopped call is continued by
  the next one. Later calls need neither. An image that is gone or has another
  size than was written counts as not written; other bytes of the same size are
  left to whoever reads the image.

  Args:
    folder: with `dataset_info.json`, for example ".../market1501/1.0.0".
    name: data set name, the prefix of its pids; "" for the public set's name.
    options: chosen values of `KEYS`.

  Returns:
    What `reading.read_public` returns for the folder that was prepared, but for
    the paths.

  Raises:
    UserError: if the folder is not such a data set or cannot be read, if the
      cache folder cannot be written, or as `reading.dataset_from_listing`.
  """
  place = _unpacked_folder(folder)
  found = _read_index(place)
  if found is None:
    found = _unpack(folder, place)
  public = _public_set(folder, found["metadata"]["public"])
  # A command adds licensed_copy to every description that may need it.
  for key in ("protocol", "splits"):
    if key in options and key not in reading.keys(public):
      raise UserError(
        f"{public.name} in {folder} has no key {key!r}; leave it out."
      )
  images = place / _IMAGES
  items = [Item(f"{images}/{row[0]}", *row) for row in found["items"]]
  return reading.dataset_from_listing(
    tfds_metadata.with_stored_splits(public, found["metadata"]),
    tfds_metadata.to_listing(found["metadata"], items, folder),
    name=name or public.name,
    options=options,
  )


def _unpacked_folder(folder: str) -> pathlib.Path:
  if not os.path.isdir(folder):
    raise folder_listing.missing_path(folder, "folder")
  if not os.path.isfile(os.path.join(folder, _INFO)):
    below = sorted(
      str(path.parent)
      for pattern in (f"*/{_INFO}", f"*/*/{_INFO}")
      for path in pathlib.Path(folder).glob(pattern)
    )
    hint = f"; did you mean {below[0]}?" if below else "."
    raise UserError(
      f"{folder} is not a prepared TFDS data set: it has no {_INFO}{hint}"
    )
  with os.scandir(folder) as entries:
    files = sorted(entry.path for entry in entries if entry.is_file())
  return pathlib.Path(extraction.folder_for("tfds", files))


def _read_index(place: pathlib.Path) -> dict[str, Any] | None:
  """Returns what was unpacked before, None if not all of it is there."""
  images = place / _IMAGES
  try:
    found = json.loads((place / _INDEX).read_text(encoding="utf-8"))
    metadata, items = found["metadata"], found["items"]
    complete = isinstance(metadata["public"], str) and all(
      len(row) == len(Item._fields[1:])
      and extraction.size_of(f"{images}/{row[0]}") == size
      for row, size in zip(items, found["sizes"], strict=True)
    )
  except (OSError, ValueError, KeyError, TypeError):
    # Not there, cut off, or of an earlier version: unpacking mends it.
    return None
  return found if complete else None


def _unpack(folder: str, place: pathlib.Path) -> dict[str, Any]:
  """Writes the images that are not there unchanged, then the index."""
  builder = _open(folder)
  metadata = dict(builder.info.metadata or {})
  known = set(builder.info.features or ())
  if not known.issuperset(_FEATURES) or "public" not in metadata:
    raise UserError(
      f"{folder} was not prepared with metabin_jax.data.tfds_builders; use "
      "these builders to prepare it, or describe other data by a manifest."
    )
  _public_set(folder, metadata["public"])
  items: list[list[Any]] = []
  sizes: list[int] = []
  for row in _rows(builder, folder):
    texts = [row[key].decode() for key in ("filename", "pid", "part", "role")]
    name, pid, part, role = texts
    target = _image_path(place, name)
    if not _holds(target, row["image"]):
      extraction.write_file(target, row["image"])
    items.append([name, pid, int(row["camid"]), part, role])
    sizes.append(len(row["image"]))
  found = {"metadata": metadata, "items": items, "sizes": sizes}
  extraction.write_file(place / _INDEX, json.dumps(found).encode(), sync=True)
  return found


def _holds(path: pathlib.Path, data: bytes) -> bool:
  try:
    return path.read_bytes() == data
  except OSError:
    return False


def _open(folder: str) -> Any:
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise UserError(
      f"{folder} has not been read before, which needs tensorflow-datasets "
      f"({error}); run `pip install -e '.[data]'` in the repository's folder."
    ) from error
  try:
    return tfds.builder_from_directory(folder)
  except (OSError, ValueError) as error:
    raise _unreadable(folder, error) from error


def _rows(builder: Any, folder: str) -> Iterator[Mapping[str, Any]]:
  """Yields the examples with encoded images, and texts as bytes."""
  import tensorflow_datasets as tfds

  decoders = {"image": tfds.decode.SkipDecoding()}
  splits = sorted(builder.info.splits)
  if builder.info.file_format.file_suffix == "array_record":
    for split in splits:
      yield from builder.as_data_source(split, decoders=decoders)
    return
  tf = pipeline.import_tensorflow()
  # Nothing is read twice, so that keeping it in memory is of no use.
  config = tfds.ReadConfig(try_autocache=False)
  try:
    for split in splits:
      yield from tfds.as_numpy(
        builder.as_dataset(split=split, decoders=decoders, read_config=config)
      )
  except tf.errors.OpError as error:
    raise _unreadable(folder, error) from error


def _unreadable(folder: str, error: Exception) -> UserError:
  reason = str(error).splitlines()[0]
  return UserError(f"{folder} cannot be read ({reason}); prepare it again.")


def _public_set(folder: str, name: str) -> PublicSet:
  if name not in registry.PUBLIC_SETS:
    raise UserError(
      f"{folder} holds the public data set {name!r}, which this version does "
      f"not know; it knows {', '.join(sorted(registry.PUBLIC_SETS))}."
    )
  return registry.PUBLIC_SETS[name]


def _image_path(place: pathlib.Path, name: str) -> pathlib.Path:
  parts = pathlib.PurePosixPath(name).parts
  if not parts or ".." in parts or parts[0] == "/":
    raise UserError(
      f"an image is named {name!r}, which leads out of its folder; prepare the "
      "TFDS data set again."
    )
  return pathlib.Path(place, _IMAGES, *parts)
