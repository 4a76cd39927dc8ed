from __future__ import annotations

import importlib
import sys
import types

import pytest

from metabin_jax.data import readers
from metabin_jax.data.records import UNKNOWN_CAMERA
from metabin_jax.errors import UserError

HEADER = "path,pid,camid,domain,split\n"


def test_folder_reader_sorts_and_reads_cameras(touch):
  root = touch(
    "shop/b/x_c2s1_1.jpg",
    "shop/b/c3_0.PNG",
    "shop/a/plain.jpeg",
    "shop/a/x_c3f9a.webp",
    "shop/a/._hidden.jpg",
    "shop/a/Thumbs.db",
  )
  dataset = readers.open_dataset(f"folder:{root}/shop")
  assert dataset.name == "shop"
  assert dataset.folds == ()
  assert [(r.pid, r.camid, r.domain) for r in dataset.train] == [
    ("shop/a", UNKNOWN_CAMERA, "shop"),
    ("shop/a", UNKNOWN_CAMERA, "shop"),
    ("shop/b", 3, "shop"),
    ("shop/b", 2, "shop"),
  ]
  assert dataset.train[0].path == f"{root}/shop/a/plain.jpeg"


def test_options_name_and_camera_domains(touch):
  root = touch("x/a/c1_0.jpg", "x/b/c2_0.jpg")
  dataset = readers.open_dataset(f"folder:{root}/x?name=own&domain=camera")
  assert [(r.pid, r.domain) for r in dataset.train] == [
    ("own/a", "own/c1"),
    ("own/b", "own/c2"),
  ]


def test_camera_domains_cover_folds_and_keep_manifest_domains(touch):
  root = touch("1.jpg", "2.jpg", "3.jpg")
  with open(f"{root}/m.csv", "w") as file:
    file.write(HEADER + "1.jpg,1,4,dom,train\n2.jpg,2,5,dom,query\n")
    file.write("3.jpg,2,6,dom,gallery\n")
  dataset = readers.open_dataset(f"manifest:{root}/m.csv?domain=camera")
  assert dataset.name == "m"
  assert dataset.train[0].domain == "dom/c4"
  assert dataset.folds[0].query[0].domain == "dom/c5"
  assert dataset.folds[0].gallery[0].domain == "dom/c6"


def test_manifest_domains_key_and_default_name(touch):
  root = touch("bench/1.jpg", "bench/2.jpg")
  with open(f"{root}/bench/manifest.csv", "w") as file:
    file.write(HEADER + "1.jpg,1,4,a,train\n2.jpg,2,5,b,train\n")
  spec = f"manifest:{root}/bench/manifest.csv"
  dataset = readers.open_dataset(f"{spec}?domains=b")
  assert dataset.name == "bench"
  assert [r.domain for r in dataset.train] == ["b"]
  with pytest.raises(UserError, match=r"no image of domain 'c'; it has a, b"):
    readers.open_dataset(f"{spec}?domains=b,c")


def test_synthetic_reads_the_manifest_it_is_given(touch, monkeypatch):
  root = touch("1.jpg")
  with open(f"{root}/manifest.csv", "w") as file:
    file.write(HEADER + "1.jpg,1,4,a,train\n")
  fake = types.ModuleType("metabin_jax.data.synthetic")
  presets = []
  fake.ensure = lambda preset: presets.append(preset) or f"{root}/manifest.csv"
  monkeypatch.setitem(sys.modules, "metabin_jax.data.synthetic", fake)
  import metabin_jax.data

  monkeypatch.setattr(metabin_jax.data, "synthetic", fake, raising=False)
  dataset = readers.open_dataset("synthetic:tiny")
  assert presets == ["tiny"]
  assert dataset.train[0].pid == "tiny/1"


def test_same_order_whatever_the_file_system_says(touch, monkeypatch):
  root = touch(*(f"{p}/{i}.jpg" for p in "cab" for i in (2, 1)))
  wanted = readers.open_dataset(f"folder:{root}")
  from metabin_jax.data import listing

  real = listing.os.scandir

  class Backwards:
    def __init__(self, folder):
      self.entries = sorted(real(folder), key=lambda e: e.name, reverse=True)

    def __enter__(self):
      return iter(self.entries)

    def __exit__(self, *_):
      return False

  monkeypatch.setattr(listing.os, "scandir", Backwards)
  assert readers.open_dataset(f"folder:{root}") == wanted


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("/data/shop", r"write READER:PATH, for example folder:/data/shop"),
    ("foldr:/x", r"unknown reader 'foldr' .*did you mean 'folder'"),
    ("zip:/x", r"unknown reader 'zip' in 'zip:/x'; use one of manifest, "),
    ("folder:", r"names no path; write folder:PATH"),
    ("folder:/x?nme=a", r"unknown key 'nme' .*did you mean 'name'"),
    ("folder:/x?domains=a", r"did you mean 'domain'\?\); folder takes name,"),
    ("folder:/x?name=", r"key 'name' .* has no value"),
    ("folder:/x?name=a&name=b", r"key 'name' occurs twice"),
    ("folder:/x?name=a/b", r"name 'a/b' contains a slash"),
    ("folder:/x?domain=cam", r"domain=cam .* the only choice is domain=camera"),
    ("market:/x?query_cameras=a", r"query_cameras=a is not a list of camera"),
  ],
)
def test_mistakes_in_the_description(spec, message):
  with pytest.raises(UserError, match=message):
    readers.open_dataset(spec)


@pytest.mark.parametrize("reader", ["folder", "market"])
def test_missing_folder_names_the_nearest_parent(reader, tmp_path):
  with pytest.raises(
    UserError,
    match=rf"no/such does not exist \(the nearest folder that does is "
    rf"{tmp_path}\)",
  ):
    readers.open_dataset(f"{reader}:{tmp_path}/no/such")


def test_missing_manifest(tmp_path):
  with pytest.raises(UserError, match=r"file .*/x.csv does not exist"):
    readers.open_dataset(f"manifest:{tmp_path}/x.csv")
  with pytest.raises(UserError, match=r"is not a file; give the path of a"):
    readers.open_dataset(f"manifest:{tmp_path}")


def test_camera_domains_need_cameras(touch):
  root = touch("x/a/c1_0.jpg", "x/b/0.jpg")
  with pytest.raises(UserError, match=r"but 1 images of 'x' have none, first"):
    readers.open_dataset(f"folder:{root}/x?domain=camera")


@pytest.fixture(name="market1501")
def market1501_fixture(tmp_path):
  return importlib.import_module("miniatures.market1501").build(tmp_path)


def test_a_public_set_is_found_below_the_data_folder(market1501):
  inside = readers.open_dataset(f"market1501:{market1501}?partial=allow")
  above = readers.open_dataset(f"market1501:{market1501.parent}?partial=allow")
  assert inside == above
  assert inside.name == "market1501"
  assert inside.provenance.public == "market1501"
  assert inside.train
  assert len(inside.folds) == 1


def test_a_public_set_takes_the_common_keys_too(market1501):
  dataset = readers.open_dataset(
    f"market1501:{market1501}?use=train&partial=allow&name=m&domain=camera"
  )
  assert not dataset.folds
  assert {r.domain for r in dataset.train} == {
    f"m/c{r.camid}" for r in dataset.train
  }
  assert all(r.pid.startswith("m/") for r in dataset.train)
  # What results must say survives the change of domains.
  assert "partial" in dataset.provenance.notes[0]


@pytest.mark.parametrize(
  ("tail", "message"),
  [
    ("?use=everything", "use=everything is unknown.*standard, all, train"),
    ("?splits=x", "unknown key 'splits'"),
    ("?partial=yes", "partial=yes is unknown"),
    ("", "12,936 images of 751 persons.*partial=allow"),
  ],
)
def test_mistakes_with_a_public_set(market1501, tail, message):
  with pytest.raises(UserError, match=message):
    readers.open_dataset(f"market1501:{market1501}{tail}")
