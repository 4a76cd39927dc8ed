from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import sys

import prepared_sets
import pytest
import toy_set

from metabin_jax.data import pipeline, tfds_reader
from metabin_jax.data.public import extraction, reading, registry
from metabin_jax.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  return toy_set.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def toy(root, tmp_path_factory):
  """Folder of the toy set, prepared."""
  return prepared_sets.prepare_toy(root, tmp_path_factory.mktemp("tfds"), "TOY")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """The cache folder of one test; both toy sets are public."""
  folder = tmp_path / "cache"
  monkeypatch.setenv("METABIN_CACHE", str(folder))
  for public in (toy_set.TOY, toy_set.TOY_LISTS):
    monkeypatch.setitem(registry.PUBLIC_SETS, public.name, public)
  return folder


def read(folder, **options):
  return tfds_reader.read_tfds(folder, options=options)


def test_second_call_needs_no_tfds(toy, monkeypatch):
  first = read(toy)
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  assert read(toy) == first


def test_first_call_without_tfds_says_what_to_install(toy, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[data\]'"):
    read(toy)


def test_array_record_needs_no_tensorflow(root, tmp_path, monkeypatch):
  pytest.importorskip("array_record")
  folder = prepared_sets.prepare_toy(
    root, tmp_path, "TOY", file_format="array_record"
  )

  def refuse():
    raise AssertionError("TensorFlow was imported")

  monkeypatch.setattr(pipeline, "import_tensorflow", refuse)
  wanted = reading.read_public(
    toy_set.TOY, str(root), name="toy_reid", options={}
  )
  prepared_sets.assert_same(read(folder), wanted)


def test_continues_where_it_stopped(toy, cache, monkeypatch):
  write, written = extraction.write_file, []

  def stop_after_three(target, data):
    if len(written) == 3:
      raise KeyboardInterrupt
    written.append(target)
    write(target, data)

  monkeypatch.setattr(extraction, "write_file", stop_after_three)
  with pytest.raises(KeyboardInterrupt):
    read(toy)
  before = {path: path.stat().st_mtime_ns for path in written}
  monkeypatch.setattr(extraction, "write_file", write)
  found = read(toy)
  assert len(prepared_sets.records(found)) == 9
  assert {path: path.stat().st_mtime_ns for path in written} == before


def test_lost_files_come_back(toy):
  found = read(toy)
  path = pathlib.Path(found.train[0].path)
  data = path.read_bytes()
  path.unlink()
  assert read(toy) == found
  assert path.read_bytes() == data


@pytest.mark.parametrize("length", [0, -1, None])
def test_image_of_another_size_is_written_again(toy, length):
  found = read(toy)
  path = pathlib.Path(found.folds[0].gallery[0].path)
  data = path.read_bytes()
  path.write_bytes(data + b"0" if length is None else data[:length])
  others = {
    record.path: os.stat(record.path).st_mtime_ns
    for record in prepared_sets.records(found)
    if record.path != str(path)
  }
  assert read(toy) == found
  assert path.read_bytes() == data
  assert {p: os.stat(p).st_mtime_ns for p in others} == others


def test_image_cut_short_before_the_index_was_written(toy, cache):
  found = read(toy)
  path = pathlib.Path(found.train[0].path)
  data = path.read_bytes()
  path.write_bytes(data[:-1])
  next(cache.rglob("index.json")).unlink()
  assert read(toy) == found
  assert path.read_bytes() == data


def cut_off(text):
  return text[: len(text) // 2]


def without(key):
  def change(text):
    found = json.loads(text)
    del found[key]
    return json.dumps(found).encode()

  return change


def with_less(key):
  """Takes away the last of a list, or of its last row."""

  def change(text):
    found = json.loads(text)
    last = found[key][-1]
    (last if isinstance(last, list) else found[key]).pop()
    return json.dumps(found).encode()

  return change


@pytest.mark.parametrize(
  "change",
  [
    cut_off,
    without("metadata"),
    without("items"),
    without("sizes"),
    with_less("sizes"),
    with_less("items"),
    lambda _: b"",
    lambda _: b"[]",
    lambda _: b"3",
    lambda _: b"\xff",
    lambda _: b'{"metadata": {}, "items": [], "sizes": []}',
  ],
)
def test_index_that_cannot_be_read_counts_as_none(toy, cache, change):
  found = read(toy)
  index = next(cache.rglob("index.json"))
  data = index.read_bytes()
  index.write_bytes(change(data))
  assert read(toy) == found
  assert index.read_bytes() == data


def test_only_the_index_is_synced(toy, monkeypatch):
  synced = []
  monkeypatch.setattr(os, "fsync", synced.append)
  read(toy)
  assert len(synced) == 1


def test_cache_below_a_file(toy, tmp_path, monkeypatch):
  (tmp_path / "file").touch()
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "file" / "cache"))
  with pytest.raises(UserError, match=r"cannot be written \(Not a directory"):
    read(toy)


def test_file_appears_when_it_is_complete(toy, cache, monkeypatch):
  def fail(*paths):
    raise OSError(5, "Input/output error")

  monkeypatch.setattr(os, "replace", fail)
  with pytest.raises(UserError, match=r"Input/output error"):
    read(toy)
  assert not [path for path in cache.rglob("*") if path.is_file()]


def test_changed_data_are_unpacked_anew(toy, tmp_path):
  copy = tmp_path / "1.0.0"
  shutil.copytree(toy, copy)
  first = read(str(copy)).train[0].path
  os.utime(next(copy.glob("*.tfrecord*")), ns=(0, 0))
  assert read(str(copy)).train[0].path != first


def test_damaged_file(toy, tmp_path):
  copy = tmp_path / "1.0.0"
  shutil.copytree(toy, copy)
  for shard in copy.glob("*train.tfrecord*"):
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
  with pytest.raises(UserError, match=r"cannot be read .*prepare it again"):
    read(str(copy))


def test_withdrawn_set_needs_a_licence(toy, monkeypatch):
  gone = dataclasses.replace(toy_set.TOY, withdrawn="Toy was withdrawn.")
  monkeypatch.setitem(registry.PUBLIC_SETS, "toy_reid", gone)
  with pytest.raises(UserError, match=r"Toy was withdrawn\. If you hold"):
    read(toy)
  assert read(toy, licensed_copy="yes").train


def test_keys_that_a_command_adds_to_every_description(toy):
  assert read(toy, licensed_copy="yes", partial="allow") == read(toy)


def test_key_of_another_set(toy):
  with pytest.raises(UserError, match=r"toy_reid in .* has no key 'protocol'"):
    read(toy, protocol="pairs")


def test_folder_above(toy):
  for above in (pathlib.Path(toy).parent, pathlib.Path(toy).parents[1]):
    with pytest.raises(UserError, match=f"did you mean {toy}\\?"):
      read(str(above))


def test_folder_of_something_else(tmp_path):
  with pytest.raises(UserError, match=r"it has no dataset_info\.json\.$"):
    read(str(tmp_path))
  with pytest.raises(UserError, match="does not exist"):
    read(str(tmp_path / "none"))


def test_data_set_of_others(toy, monkeypatch):
  monkeypatch.delitem(registry.PUBLIC_SETS, "toy_reid")
  with pytest.raises(UserError, match="'toy_reid', which this version"):
    read(toy)


def test_public_name_with_other_features(toy, tmp_path):
  copy = tmp_path / "1.0.0"
  shutil.copytree(toy, copy)
  features = json.loads((copy / "features.json").read_text())
  del features["featuresDict"]["features"]["role"]
  (copy / "features.json").write_text(json.dumps(features))
  with pytest.raises(UserError, match="not prepared with metabin_jax"):
    read(str(copy))


def test_public_name_prepared_by_others(toy, tmp_path):
  copy = tmp_path / "1.0.0"
  shutil.copytree(toy, copy)
  (copy / "metadata.json").unlink()
  with pytest.raises(UserError, match="not prepared with metabin_jax"):
    read(str(copy))


def test_damaged_description(toy, tmp_path):
  copy = tmp_path / "1.0.0"
  shutil.copytree(toy, copy)
  (copy / "features.json").write_text("{")
  with pytest.raises(UserError, match=r"cannot be read .*prepare it again"):
    read(str(copy))


@pytest.mark.parametrize("name", ["../x.jpg", "/x.jpg", "a/../../x.jpg", ""])
def test_no_image_leaves_the_cache(name, tmp_path):
  with pytest.raises(UserError, match="leads out of its folder"):
    tfds_reader._image_path(tmp_path, name)
