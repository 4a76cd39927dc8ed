"""Reads folders of images whose names tell the person and the camera."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from metabin_jax.data import listing
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Fold, Record
from metabin_jax.errors import UserError

FOLDER_SPLITS = ("train", "query", "gallery")
MARKET_SPLITS = {
  "train": "bounding_box_train",
  "query": "query",
  "gallery": "bounding_box_test",
}
JUNK_PID = "-1"
_FOLD_NAME = "test"

# "_c3s1_", "_c3_", "_c3" at the end, or "c3_" at the start; not "_c3f9a".
_CAMERA = re.compile(r"_c(\d+)(?=s\d|[_.\-]|$)|^c(\d+)_")
# 0001_c1s1_000151_01.jpg, 0005_c2_f0046985.jpg, 001_01_1.png, 0001_1.jpeg
_MARKET_NAME = re.compile(r"(-1|[A-Za-z]*\d[0-9A-Za-z]*)_c?(\d+)(?=s\d|[_.\-])")


def read_folder(root: str, *, name: str) -> DataSet:
  """Reads one sub-folder per person.

  Layout `root/{train,query,gallery}/<pid>/*` (other sub-folders of `root` are
  then ignored), or `root/<pid>/*`, where everything is training data. The
  camera is the number after `_c`, or after a leading `c`, in the file name,
  else unknown.

  Args:
    root: the folder.
    name: name of the data set, its only domain and the prefix of its pids.

  Raises:
    UserError: if the folder is missing, empty or laid out otherwise.
  """
  images, folders, others = listing.list_folder(root)
  splits = [split for split in FOLDER_SPLITS if split in folders]
  want = "root/<pid>/*.jpg or root/{train,query,gallery}/<pid>/*.jpg"
  if not splits:
    if images and not folders:
      raise UserError(
        f"{root} holds {len(images)} images but no folder per person; want "
        f"{want}, or try the market reader if the names tell the person."
      )
    if not folders:
      raise listing.no_images(root, others, want)
    return DataSet(name, _persons(root, name, want))
  parts = {s: _persons(os.path.join(root, s), name, want) for s in splits}
  return _assemble(root, name, parts, {s: s for s in FOLDER_SPLITS})


def _persons(root: str, name: str, want: str) -> tuple[Record, ...]:
  _, pids, others = listing.list_folder(root)
  records = []
  for pid in pids:
    folder = os.path.join(root, pid)
    images, _, ignored = listing.list_folder(folder)
    others += ignored
    for image in images:
      found = _CAMERA.search(image)
      camid = int(found[1] or found[2]) if found else UNKNOWN_CAMERA
      path = os.path.join(folder, image)
      records.append(Record(path, f"{name}/{pid}", camid, name))
  if not records:
    raise listing.no_images(root, others, want)
  return tuple(records)


def read_market(
  root: str,
  *,
  name: str,
  query_cameras: Collection[int] | None = None,
  gallery_cameras: Collection[int] | None = None,
) -> DataSet:
  """Reads files named `<pid>_c<cam>...` or `<pid>_<cam>_...`.

  Layout `root/{bounding_box_train,query,bounding_box_test}`, or one flat
  folder. Only the base name of a file is looked at. Person "-1" (junk
  detections) is dropped everywhere, person 0 (distractors: 0, 000, 0000) is
  kept in the gallery only. The camera number is kept as written.

  Args:
    root: the folder.
    name: name of the data set, its only domain and the prefix of its pids.
    query_cameras: flat folder only: images of these cameras are the queries.
    gallery_cameras: flat folder only: images of these cameras are the gallery.
      With both, nothing is training data; with neither, everything is.

  Raises:
    UserError: if the folder is missing or empty, or a name does not fit.
  """
  images, folders, others = listing.list_folder(root)
  present = {s: f for s, f in MARKET_SPLITS.items() if f in folders}
  by_camera = query_cameras is not None or gallery_cameras is not None
  if present:
    if by_camera:
      raise UserError(
        f"query_cameras and gallery_cameras are for flat folders, but {root} "
        f"has {' and '.join(present.values())}; leave the keys out."
      )
    parts = {}
    for split, folder in present.items():
      inside = os.path.join(root, folder)
      names, _, ignored = listing.list_folder(inside)
      if not names:
        raise listing.no_images(inside, ignored, "<pid>_c<cam>...jpg")
      parts[split] = _market_records(inside, names, name, split == "gallery")
    return _assemble(root, name, parts, MARKET_SPLITS)
  if not images:
    raise listing.no_images(
      root,
      others,
      "images named <pid>_c<cam>..., here or in "
      + ", ".join(MARKET_SPLITS.values()),
    )
  if not by_camera:
    return DataSet(name, _market_records(root, images, name, False))
  if query_cameras is None or gallery_cameras is None:
    raise UserError(
      "query_cameras and gallery_cameras go together; give both or neither."
    )
  records = _market_records(root, images, name, True)
  people = tuple(r for r in records if not _is_zero(r.pid, name))
  query = tuple(r for r in people if r.camid in query_cameras)
  gallery = tuple(r for r in records if r.camid in gallery_cameras)
  for key, wanted, part in (
    ("query_cameras", query_cameras, query),
    ("gallery_cameras", gallery_cameras, gallery),
  ):
    if not part:
      raise UserError(
        f"{root} has no image of {key}={_join(wanted)}; its cameras are "
        f"{_join({r.camid for r in records})}."
      )
  return DataSet(name, (), (Fold(_FOLD_NAME, query, gallery),))


def _market_records(
  folder: str, images: list[str], name: str, keep_zero: bool
) -> tuple[Record, ...]:
  # match() anchors at the start of the base name: a parent folder such as
  # "0001_c1_backup" must not be read as a person.
  found = [_MARKET_NAME.match(image) for image in images]
  strange = [i for i, match in zip(images, found, strict=True) if not match]
  if strange:
    raise UserError(
      f"{len(strange)} of {len(images)} images in {folder} are not named "
      f"<pid>_c<cam>... or <pid>_<cam>_..., first {strange[0]}; rename them or "
      "describe them in a manifest."
    )
  records = []
  for image, match in zip(images, found, strict=True):
    assert match is not None
    pid = f"{name}/{match[1]}"
    if match[1] == JUNK_PID or (_is_zero(pid, name) and not keep_zero):
      continue
    path = os.path.join(folder, image)
    records.append(Record(path, pid, int(match[2]), name))
  if not records:
    raise UserError(
      f"all {len(images)} images in {folder} are junk (person -1 or 0); add "
      "images of persons."
    )
  return tuple(records)


def _is_zero(pid: str, name: str) -> bool:
  return not pid.removeprefix(f"{name}/").strip("0")


def _assemble(
  root: str,
  name: str,
  parts: dict[str, tuple[Record, ...]],
  folder_names: dict[str, str],
) -> DataSet:
  if ("query" in parts) != ("gallery" in parts):
    here, there = (
      ("query", "gallery") if "query" in parts else ("gallery", "query")
    )
    raise UserError(
      f"{root} has {folder_names[here]} but not {folder_names[there]}; a test "
      "needs both."
    )
  folds: tuple[Fold, ...] = ()
  if "query" in parts:
    folds = (Fold(_FOLD_NAME, parts["query"], parts["gallery"]),)
  return DataSet(name, parts.get("train", ()), folds)


def _join(numbers: Collection[int]) -> str:
  return ",".join(map(str, sorted(numbers)))
