from __future__ import annotations

import csv
import json
import shutil
import zlib

import numpy as np
import prepared_sets
import pytest
import toy_set
from miniatures import pku_reid as pku_miniature

from metabin_jax.data import images, manifest, readers, splits, tfds_reader
from metabin_jax.data.public import definition, pku_reid, reading, registry
from metabin_jax.errors import UserError
from metabin_jax.evaluation import evaluate

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  return toy_set.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def toy(root, tmp_path_factory):
  """Folder of the toy set, prepared."""
  return prepared_sets.prepare_toy(root, tmp_path_factory.mktemp("tfds"), "TOY")


@pytest.fixture(scope="module")
def toy_lists(root, tmp_path_factory):
  return prepared_sets.prepare_toy(
    root, tmp_path_factory.mktemp("tfds"), "TOY_LISTS"
  )


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


@pytest.mark.parametrize("use", ["standard", "all", "train"])
def test_equals_the_folder_that_was_prepared(toy, root, use):
  wanted = reading.read_public(
    toy_set.TOY, str(root), name="toy_reid", options={"use": use}
  )
  prepared_sets.assert_same(read(toy, use=use), wanted)


def test_other_configuration(root, tmp_path):
  folder = prepared_sets.prepare_toy(root, tmp_path, "TOY", config="labeled")
  wanted = reading.read_public(
    toy_set.TOY, str(root), name="toy_reid", options={"type": "labeled"}
  )
  assert wanted.provenance.variant == "labeled"
  prepared_sets.assert_same(read(folder), wanted)


def test_name(toy):
  found = tfds_reader.read_tfds(toy, name="mine", options={})
  assert found.name == "mine"
  assert {r.pid.split("/")[0] for r in prepared_sets.records(found)} == {"mine"}
  assert {r.domain for r in prepared_sets.records(found)} == {"mine"}
  assert read(toy).name == "toy_reid"


@pytest.mark.parametrize("protocol", ["pairs", "lists"])
def test_split_lists_without_the_prepared_folder(tmp_path, protocol):
  """The file of the lists is gone by the time the set is read."""
  root = toy_set.build(tmp_path)
  wanted = reading.read_public(
    toy_set.TOY_LISTS,
    str(root),
    name="toy_lists",
    options={"protocol": protocol},
  )
  folder = prepared_sets.prepare_toy(root, tmp_path / "tfds", "TOY_LISTS")
  (root / toy_set.LISTS).unlink()
  found = read(folder, protocol=protocol)
  assert found.provenance.protocol == protocol
  prepared_sets.assert_same(found, wanted)


def test_split_lists_of_the_user(toy_lists, tmp_path):
  (tmp_path / toy_set.LISTS).write_text(json.dumps(["test/11_c1.jpg"]))
  found = read(toy_lists, protocol="lists", splits=str(tmp_path))
  assert [record.pid for record in found.folds[0].query] == ["toy_lists/11"]


def test_split_lists_that_could_not_be_made(tmp_path):
  root = toy_set.build(tmp_path)
  (root / toy_set.LISTS).unlink()
  folder = prepared_sets.prepare_toy(root, tmp_path / "tfds", "TOY_LISTS")
  assert len(read(folder).folds) == 2
  with pytest.raises(UserError, match="protocol lists needs it"):
    read(folder, protocol="lists")


def test_partial_data_need_consent(root, tmp_path, monkeypatch):
  wrong = {**toy_set.EXPECTED, "train": definition.Count(5, 4)}
  monkeypatch.setattr(toy_set, "EXPECTED", wrong)
  folder = prepared_sets.prepare_toy(root, tmp_path, "TOY", allow_partial=True)
  with pytest.raises(UserError, match="train: expected 5 images of 4 persons"):
    read(folder)
  wanted = reading.read_public(
    toy_set.TOY, str(root), name="toy_reid", options={"partial": "allow"}
  )
  found = read(folder, partial="allow")
  assert "partial" in found.provenance.notes[-1]
  prepared_sets.assert_same(found, wanted)


def write_manifest(dataset, path):
  """Describes a data set of one fold, or of several, by a manifest."""
  lines = [("train", "", record) for record in dataset.train]
  for fold in dataset.folds:
    lines += [("query", fold.name, record) for record in fold.query]
    lines += [("gallery", fold.name, record) for record in fold.gallery]
  with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow([*manifest.REQUIRED_COLUMNS, "fold"])
    for split, fold, r in lines:
      pid = r.pid.removeprefix(f"{dataset.name}/")
      writer.writerow([r.path, pid, r.camid, r.domain, split, fold])


def noisy_colours(part):
  """Mean colours, with noise from the pixels: persons are mixed up."""
  rows = []
  for record in part:
    image = images.load_image(record.path, 16, 8)
    noise = np.random.default_rng(zlib.crc32(image.tobytes())).normal(size=3)
    rows.append(image.mean(axis=(0, 1)) + 30 * noise)
  return np.stack(rows)


def one_result(public, builder, root, folder, others=()):
  """Scores a data set as three readers see it, and as others do.

  Returns the digest of the three, and the result of all.
  """
  parser = reading.read_public(public, str(root), name="same", options={})
  write_manifest(parser, folder / "manifest.csv")
  listed = manifest.read_manifest(str(folder / "manifest.csv"), name="same")
  place = prepared_sets.prepare(builder, root, folder).data_path
  found = tfds_reader.read_tfds(str(place), name="same", options={})
  digests = {splits.split_digest(d) for d in (parser, listed, found)}
  assert len(digests) == 1
  results = [
    evaluate.evaluate_target(dataset.folds, noisy_colours)
    for dataset in (parser, listed, found, *others)
  ]
  assert all(result == results[0] for result in results)
  assert 0 < results[0]["mAP"] <= 1
  return digests.pop(), results[0]


@pytest.mark.parametrize("name", ["TOY", "TOY_LISTS"])
def test_parser_manifest_and_tfds_give_one_result(root, tmp_path, name):
  builder = prepared_sets.builder_of(name)
  one_result(getattr(toy_set, name), builder, root, tmp_path)


def persons_folder(root, folder):
  """Copies PKU-Reid to query/<pid>/ and gallery/<pid>/; returns the folder."""
  for path in root.glob("*.png"):
    pid, camera, orientation = path.stem.split("_")
    part = {"01": "query", "02": "gallery"}[camera]
    target = folder / part / pid / f"{pid}_c{int(camera)}_{orientation}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
  return folder


def test_pku_reid_gives_one_result(tmp_path, monkeypatch):
  from metabin_jax.data.tfds_builders import BUILDERS

  root = pku_miniature.build(tmp_path)
  found = pku_reid.PKU_REID.list_items(str(root), {})
  numbers = definition.tally(found.items)
  monkeypatch.setattr(pku_reid, "EXPECTED", numbers)
  assert numbers["query"].pids == 8
  market = readers.open_dataset(
    f"market:{root}?query_cameras=1&gallery_cameras=2&name=same"
  )
  by_person = readers.open_dataset(
    f"folder:{persons_folder(root, tmp_path / 'persons')}?name=same"
  )
  digest, result = one_result(
    pku_reid.PKU_REID,
    BUILDERS["pku_reid"],
    root,
    tmp_path,
    others=(market, by_person),
  )
  assert result["mAP"] < 0.9
  assert splits.split_digest(market) == digest
  # The files have other names, but persons and cameras are the same.
  for fold in (*market.folds, *by_person.folds):
    for part, camera in ((fold.query, 1), (fold.gallery, 2)):
      assert {record.camid for record in part} == {camera}
      assert len(part) == 8 * 8
