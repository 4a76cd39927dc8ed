from __future__ import annotations

import collections
import shutil

import numpy as np
import pytest
from miniatures import cuhk_sysu as small
from PIL import Image

from metabin_jax.data.public import (
  cuhk_sysu,
  cuhk_sysu_crops,
  definition,
  reading,
)
from metabin_jax.data.public.cuhk_sysu import (
  CUHK_SYSU,
  METABIN_GRAMMAR,
  TORCHREID_GRAMMAR,
)
from metabin_jax.errors import UserError

VARIANTS = ("metabin", "torchreid", "own")
NUM_IMAGES = {"p1": 2, "p2": 3, "p3": 1, "p4": 2, "p17": 2, "p11934": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


@pytest.fixture
def as_published(monkeypatch, counts_of, miniature):
  counts = counts_of(CUHK_SYSU, miniature("cuhk_sysu", "metabin"))
  monkeypatch.setattr(cuhk_sysu, "EXPECTED", counts)


@pytest.fixture
def copy(tmp_path, miniature):
  def make(variant):
    root = miniature("cuhk_sysu", variant)
    return shutil.copytree(root, tmp_path / root.name)

  return make


def read(root, **options):
  return reading.read_public(CUHK_SYSU, str(root), name="cs", options=options)


def listed(root, **options):
  return reading.list_items(CUHK_SYSU, str(root), options)


def pixels(path):
  with Image.open(path) as image:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
  ("grammar", "name", "pid"),
  [
    (METABIN_GRAMMAR, "p11934_n02_s18184_hard0.png", "11934"),
    (METABIN_GRAMMAR, "p00001_n01_s00001_hard1.png", "00001"),
    (METABIN_GRAMMAR, "p00001_n01_s00001_hard2.png", None),
    (METABIN_GRAMMAR, "p1_n01_s00001_hard0.png", None),
    (METABIN_GRAMMAR, "p00001_n01_s00001_hard0.jpg", None),
    (TORCHREID_GRAMMAR, "p11934_s18184_2.jpg", "11934"),
    (TORCHREID_GRAMMAR, "p11934_s18184.jpg", None),
    (TORCHREID_GRAMMAR, "p11934_s18184_2.png", None),
  ],
)
def test_grammars(grammar, name, pid):
  found = grammar.fullmatch(name)
  assert (found["pid"] if found else None) == pid


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("use", CUHK_SYSU.uses)
def test_all_is_training_data(miniature, as_published, variant, use):
  dataset = read(miniature("cuhk_sysu", variant), use=use)
  persons = collections.Counter(
    r.pid.removeprefix("cs/") for r in dataset.train
  )
  assert persons == NUM_IMAGES
  assert {record.camid for record in dataset.train} == {-1}
  assert dataset.folds == ()
  assert dataset.provenance.variant == variant
  assert dataset.provenance.notes == ()


def test_all_is_the_default_use(miniature, as_published):
  root = miniature("cuhk_sysu", "metabin")
  assert read(root) == read(root, use="all")


def test_our_crops_are_the_pixels_of_metabins(miniature):
  theirs = listed(miniature("cuhk_sysu", "metabin")).items
  ours = listed(miniature("cuhk_sysu", "own")).items
  assert [(i.name, i.pid) for i in ours] == [(i.name, i.pid) for i in theirs]
  for our, their in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(pixels(our.path), pixels(their.path))


def test_sizes_of_our_crops(miniature):
  items = listed(miniature("cuhk_sysu", "own")).items
  shapes = {item.name.split("/")[1]: pixels(item.path).shape for item in items}
  # Both ends belong to a box.
  assert shapes["p00001_n01_s00001_hard0.png"] == (24, 12, 3)
  # Clipped: the image ends at column 40 and row 32.
  assert shapes["p00017_n01_s00005_hard0.png"] == (13, 11, 3)


def test_matlab_73_gives_the_same_crops(miniature):
  pytest.importorskip("h5py")
  ours = listed(miniature("cuhk_sysu", "own")).items
  newer = listed(miniature("cuhk_sysu", "own73")).items
  assert [(i.name, i.pid) for i in newer] == [(i.name, i.pid) for i in ours]
  for new, old in zip(newer, ours, strict=True):
    np.testing.assert_array_equal(pixels(new.path), pixels(old.path))


def test_our_crops_lie_in_the_cache_and_stay_there(
  miniature, cache, files_below
):
  root = miniature("cuhk_sysu", "own")
  before = files_below(root)
  items = listed(root).items
  assert files_below(root) == before
  assert all(item.path.startswith(str(cache)) for item in items)
  written = files_below(cache)
  assert listed(root).items == items
  assert files_below(cache) == written


def test_each_full_image_is_decoded_once(miniature, monkeypatch):
  opened = []
  real = cuhk_sysu_crops.Image.open

  def noted(path):
    opened.append(path)
    return real(path)

  monkeypatch.setattr(cuhk_sysu_crops.Image, "open", noted)
  listed(miniature("cuhk_sysu", "own"))
  assert len(opened) == len(set(opened)) == 7


@pytest.mark.parametrize(
  ("crop", "variant"),
  [("metabin", "metabin"), ("torchreid", "torchreid"), ("own", "own")],
)
def test_choice_of_the_crops(miniature, crop, variant):
  found = listed(miniature("cuhk_sysu", "all"), crop=crop)
  assert found.variant == variant
  assert definition.tally(found.items) == {"train": (12, 6)}


def test_different_crops_at_once_need_a_choice(miniature):
  message = "cropped_image and as cropped_images, .* crop=metabin or crop=torch"
  with pytest.raises(UserError, match=message):
    listed(miniature("cuhk_sysu", "all"))


def test_torchreids_crops_beside_the_full_images_need_a_choice(copy):
  root = copy("all")
  shutil.rmtree(root / "cropped_image")
  with pytest.raises(UserError, match="crop=torchreid or crop=own"):
    listed(root)


def test_metabins_crops_spare_our_own(copy, cache):
  root = copy("all")
  shutil.rmtree(root / "cropped_images")
  assert listed(root).variant == "metabin"
  assert not cache.exists()


@pytest.mark.parametrize(
  ("crop", "wanted"),
  [
    ("auto", "cropped_image or cropped_images or Image/SSM"),
    ("metabin", "cropped_image"),
    ("torchreid", "cropped_images"),
    ("own", "Image/SSM"),
  ],
)
def test_another_folder(tmp_path, crop, wanted):
  root = tmp_path / "there"
  (root / "pictures").mkdir(parents=True)
  message = f"no folder {wanted}, .* pictures .*Person.mat"
  with pytest.raises(UserError, match=message):
    listed(root, crop=crop)


def test_wrong_counts(miniature):
  root = miniature("cuhk_sysu", "torchreid")
  message = (
    r"cuhk_sysu \(torchreid\) in .*train: expected 34,574 images of 11,934 "
    "persons, found 12 images of 6 persons"
  )
  with pytest.raises(UserError, match=message):
    read(root)
  (note,) = read(root, partial="allow").provenance.notes
  assert "partial" in note


def test_unknown_names(copy, as_published):
  root = copy("metabin")
  for name in ("p1_s1_1.jpg", "Thumbs.db", "._p00001_n01_s00001_hard0.png"):
    (root / "cropped_image" / name).touch()
  assert listed(root).unknown == ("cropped_image/p1_s1_1.jpg",)
  with pytest.raises(UserError, match=r"1 unknown: cropped_image/p1_s1_1\.jpg"):
    read(root)


def test_missing_full_images(copy, as_published):
  root = copy("own")
  (root / "Image" / "SSM" / "s3.jpg").unlink()
  found = listed(root)
  assert found.missing == ("Image/SSM/s3.jpg",)
  assert len(found.items) == 10
  with pytest.raises(UserError, match=r"1 missing: Image/SSM/s3\.jpg"):
    read(root)


def test_a_broken_full_image(copy):
  root = copy("own")
  (root / "Image" / "SSM" / "s3.jpg").write_bytes(b"not an image")
  with pytest.raises(UserError, match=r"image .*/Image/SSM/s3\.jpg cannot"):
    listed(root)


@pytest.mark.parametrize("how", ["gone", "other variable"])
def test_an_archive_without_identities(copy, how):
  root = copy("own")
  path = root / "annotation" / "Person.mat"
  path.unlink()
  if how == "other variable":
    import scipy.io

    scipy.io.savemat(path, {"Img": 1.0})
  with pytest.raises(UserError, match="lack who is who; ask the authors"):
    listed(root)


def test_another_person_mat_makes_other_crops(copy):
  root = copy("own")
  first = listed(root).items[0]
  persons = {1: [(1, (2, 1, 10, 23), 0)]}
  small.write_mat(root / "annotation" / "Person.mat", persons)
  (only,) = listed(root).items
  assert only.name == first.name
  np.testing.assert_array_equal(pixels(only.path), pixels(first.path)[:, 1:])
