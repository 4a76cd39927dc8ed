from __future__ import annotations

import json

import pytest

from metabin_jax.data import splits
from metabin_jax.data.public import (
  grid,
  ilids,
  prid,
  reading,
  split_files,
  viper,
)
from metabin_jax.data.public.definition import Item, Listing
from metabin_jax.errors import UserError

SETS = {
  public.name: public
  for public in (viper.VIPER, prid.PRID, grid.GRID, ilids.ILIDS)
}
LISTING = Listing(
  "/photos",
  (
    Item("/photos/a/1.png", "a/1.png", "1", 1, "a"),
    Item("/photos/b/1.png", "b/1.png", "1", 2, "b"),
    Item("/photos/b/2.png", "b/2.png", "2", 2, "b"),
  ),
  {},
)


def read(public, root, **options):
  options = {"partial": "allow", **options}
  return reading.read_public(
    public, str(root), name=public.name, options=options
  )


def save(dataset, path):
  path.write_text(json.dumps(splits.to_json(dataset)))
  return str(path)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("protocol", ["metabin", "dualnorm"])
def test_saved_lists_give_the_same_folds(miniature, tmp_path, name, protocol):
  public, root = SETS[name], miniature(name)
  dataset = read(public, root, protocol=protocol)
  path = save(dataset, tmp_path / "kept.json")
  again = read(public, root, splits=path)
  assert splits.split_digest(again) == splits.split_digest(dataset)
  assert again.provenance.protocol == protocol
  origin = dataset.provenance.origin
  assert again.provenance.origin == f"{origin} (kept in kept.json)"
  for fold, other in zip(again.folds, dataset.folds, strict=True):
    assert fold.name == other.name
    assert splits.same_split(fold, other)
  third = read(public, root, splits=save(again, tmp_path / "third.json"))
  assert third.provenance.origin == f"{origin} (kept in third.json)"


def test_lists_of_another_set(miniature, tmp_path):
  path = save(read(prid.PRID, miniature("prid")), tmp_path / "prid.json")
  with pytest.raises(UserError, match="are of prid, not of viper; take a file"):
    read(viper.VIPER, miniature("viper"), splits=path)


def saved(**changes):
  folds = [
    {"name": "1", "query": [["1.png", "1", 1]], "gallery": [["1.png", "1", 2]]}
  ]
  text = json.dumps([list(fold.values()) for fold in folds])
  digest = splits.hashlib.sha256(text.replace(" ", "").encode()).hexdigest()
  return {
    "format": "metabin-splits-1",
    "dataset": "viper",
    "protocol": "metabin",
    "origin": "a hat",
    "sha256": digest,
    "folds": folds,
    **changes,
  }


def test_names_come_from_the_labels():
  found = split_files.read_saved(saved(), "/x/f.json", LISTING, "viper")
  assert found.protocol == "metabin"
  assert found.origin == "a hat (kept in f.json)"
  assert found.folds == (("1", ("a/1.png",), ("b/1.png",)),)


def test_image_that_is_missing_is_named():
  listing = Listing("/photos", LISTING.items[:1], {})
  found = split_files.read_saved(saved(), "f.json", listing, "viper")
  assert found.folds[0].gallery == ("1.png (person 1, camera 2)",)


def test_changed_lists_are_refused():
  changed = saved()
  changed["folds"][0]["gallery"].append(["2.png", "2", 2])
  with pytest.raises(UserError, match="were changed after they were saved"):
    split_files.read_saved(changed, "f.json", LISTING, "viper")


@pytest.mark.parametrize(
  "changes",
  [
    {"folds": []},
    {"folds": [{"name": "1", "query": []}]},
    {"folds": [{"name": "1", "query": [["1.png"]], "gallery": []}]},
    {"folds": [{"name": "1", "query": [3], "gallery": []}]},
    {"folds": None},
    {"origin": None},
  ],
)
def test_saved_lists_of_another_form(changes):
  with pytest.raises(UserError, match=r"f.json are not of the expected form"):
    split_files.read_saved(saved(**changes), "f.json", LISTING, "viper")


@pytest.mark.parametrize(
  "row",
  ["1.png", "/elsewhere/1.png", "C:\\data\\1.png", ["/x/1.png", 1, 0]],
)
def test_named_files_lie_elsewhere(row):
  listing = Listing("/photos", LISTING.items[1:], {})
  data = [{"train": [], "query": [row], "gallery": ["2.png", "3.png"]}]
  assert split_files.read_named(data, "f.json", listing) == (
    ("1", ("b/1.png",), ("b/2.png", "3.png")),
  )


@pytest.mark.parametrize(
  "data",
  [
    [],
    {},
    3,
    [{"query": ["1.png"]}],
    [{"query": ["1.png"], "gallery": []}],
    [{"query": [[]], "gallery": ["1.png"]}],
    [{"query": [7], "gallery": ["1.png"]}],
    [{"query": [[7]], "gallery": ["1.png"]}],
  ],
)
def test_named_files_of_another_form(data):
  with pytest.raises(UserError, match=r"f.json are not of the expected form"):
    split_files.read_named(data, "f.json", LISTING)


def test_find(tmp_path):
  root, other = tmp_path / "root", tmp_path / "other"
  for folder in (root, other):
    folder.mkdir()
  (root / "b.json").touch()
  names = ("a.json", "b.json")
  assert split_files.find("", str(root), names) == str(root / "b.json")
  (root / "a.json").touch()
  assert split_files.find("", str(root), names) == str(root / "a.json")
  assert split_files.find(str(root), str(other), names) == str(root / "a.json")
  assert split_files.find("", str(other), names) == ""
  assert split_files.find("", str(root), ()) == ""
  given = str(root / "b.json")
  assert split_files.find(given, str(other), names) == given
  with pytest.raises(UserError, match=r"is a folder without a.json or b.json"):
    split_files.find(str(other), str(root), names)
  with pytest.raises(UserError, match=r"c.json does not exist"):
    split_files.find(str(root / "c.json"), str(root), names)


def test_file_that_is_no_json(tmp_path):
  path = tmp_path / "f.json"
  path.write_bytes(b"\xff\xfe")
  with pytest.raises(UserError, match=r"f.json cannot be read as JSON"):
    split_files.read_json(str(path))
  path.write_text("{")
  with pytest.raises(UserError, match=r"f.json cannot be read as JSON"):
    split_files.read_json(str(path))


def test_a_saved_file_of_another_protocol_than_asked_for(miniature, tmp_path):
  root = miniature("viper")
  path = save(read(viper.VIPER, root, protocol="dualnorm"), tmp_path / "s.json")
  with pytest.raises(UserError, match="are of protocol dualnorm; leave one"):
    read(viper.VIPER, root, splits=path, protocol="metabin")
  again = read(viper.VIPER, root, splits=path, protocol="dualnorm")
  assert again.provenance.protocol == "dualnorm"
