from __future__ import annotations

import importlib

import known_sets
import pytest

from metabin_jax.data import readers
from metabin_jax.data.doctor.guess import guess_spec
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.errors import UserError


@pytest.mark.parametrize(
  ("files", "place", "reader"),
  [
    (["a.csv"], "/a.csv", "manifest"),
    (["a.CSV"], "/a.CSV", "manifest"),
    (["train/1/a.jpg"], "", "folder"),
    (["query/1/a.jpg", "gallery/1/b.jpg"], "", "folder"),
    (["anna/a.jpg", "ben/b.jpg", "notes.txt"], "", "folder"),
    (["bounding_box_train/0001_c1_1.jpg"], "", "market"),
    (
      [
        "query/0001_c1s1_1.jpg",
        "bounding_box_test/0001_c2s1_1.jpg",
      ],
      "",
      "market",
    ),
    (["0001_c1s1_1.jpg", "readme.txt"], "", "market"),
  ],
)
def test_by_layout(touch, files, place, reader):
  root = touch(*files) + place
  spec = guess_spec(root, {})
  assert spec == f"{reader}:{root}"
  if reader != "manifest":
    assert readers.open_dataset(spec).name


def test_a_manifest_in_the_folder_says_more_than_its_sub_folders(touch):
  root = touch("manifest.csv", "images/a.jpg")
  assert guess_spec(root, {}) == f"manifest:{root}/manifest.csv"


@pytest.mark.parametrize(
  ("files", "place", "message"),
  [
    ([], "/nowhere", "folder .*nowhere does not exist"),
    (["a.txt"], "/a.txt", "neither a folder nor a .csv manifest"),
    (["a.txt", "b/c.txt"], "", r"no image in .*\(1 other files ignored.*want"),
    (["a/b/c.jpg"], "", "no image in"),
  ],
)
def test_nothing_fits(touch, files, place, message):
  with pytest.raises(UserError, match=message):
    guess_spec(touch(*files) + place, {})


def test_public_sets_by_their_folder(tmp_path, monkeypatch):
  known_sets.only(monkeypatch, "market1501", "viper")
  known_sets.build(tmp_path, "market1501", "viper")
  for name, folder in (
    ("market1501", "Market-1501-v15.09.15"),
    ("viper", "VIPeR"),
  ):
    place = str(tmp_path / folder)
    assert guess_spec(place, PUBLIC_SETS) == f"{name}:{place}"
    assert guess_spec(f"{place}/", PUBLIC_SETS) == f"{name}:{place}/"
  with pytest.raises(
    UserError, match=r"holds several public data sets.*market1501, viper"
  ):
    guess_spec(str(tmp_path), PUBLIC_SETS)
  # A folder with all data sets, of which there is one.
  known_sets.only(monkeypatch, "viper")
  assert guess_spec(str(tmp_path), PUBLIC_SETS) == f"viper:{tmp_path}"


def test_a_name_alone_makes_no_public_set(touch, monkeypatch):
  known_sets.only(monkeypatch, "viper", "market1501")
  root = touch("viper/anna/a.jpg", "viper/ben/b.jpg")
  assert guess_spec(f"{root}/viper", PUBLIC_SETS) == f"folder:{root}/viper"


def test_a_set_whose_images_lie_one_folder_below(tmp_path):
  root = importlib.import_module("miniatures.pku_reid").build(tmp_path)
  (tmp_path / "pku_reid").mkdir()
  root.rename(tmp_path / "pku_reid" / "images")
  place = str(tmp_path / "pku_reid")
  assert guess_spec(place, PUBLIC_SETS) == f"pku_reid:{place}"
