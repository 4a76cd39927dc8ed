from __future__ import annotations

import dataclasses

import pytest

from metabin_jax.data.doctor import find_sets
from metabin_jax.data.public import market1501
from metabin_jax.data.public.registry import PUBLIC_SETS

PUBLIC = dataclasses.replace(
  market1501.MARKET1501, name="known", roots=("Known-1", "outer/inner", "known")
)


@pytest.mark.parametrize("name", PUBLIC.roots)
def test_under_any_accepted_name(tmp_path, name):
  place = tmp_path / "data" / name
  place.mkdir(parents=True)
  assert find_sets.locate(PUBLIC, [str(tmp_path / "data")]) == str(place)
  assert find_sets.locate(PUBLIC, [str(place)]) == str(place)
  assert find_sets.is_root(PUBLIC, str(place))


def test_the_first_name_and_the_first_folder_win(tmp_path):
  for name in ("a/known", "a/Known-1", "b/Known-1"):
    (tmp_path / name).mkdir(parents=True)
  places = [str(tmp_path / name) for name in ("c", "a", "b")]
  assert find_sets.locate(PUBLIC, places) == str(tmp_path / "a" / "Known-1")


def test_not_there(tmp_path):
  (tmp_path / "known").write_text("a file")
  (tmp_path / "inner").mkdir()
  assert find_sets.locate(PUBLIC, [str(tmp_path)]) == ""
  assert find_sets.locate(PUBLIC, []) == ""
  assert not find_sets.is_root(PUBLIC, str(tmp_path / "inner"))
  assert not find_sets.is_root(PUBLIC, str(tmp_path / "known"))


def test_published_counts():
  counts = find_sets.expected_counts(market1501.MARKET1501)
  assert counts["train"].images == 12_936


def test_every_parser_has_its_counts():
  for public in PUBLIC_SETS.values():
    assert find_sets.expected_counts(public), public.name


@pytest.mark.parametrize(
  ("name", "folder", "inside", "there"),
  [
    ("cuhk_sysu", "dataset", "a.png", False),
    ("cuhk_sysu", "dataset", "train/0001_c1_1.jpg", False),
    ("cuhk_sysu", "dataset", "cropped_image/a.png", True),
    ("cuhk_sysu", "dataset", "cropped_images/a.jpg", True),
    ("cuhk_sysu", "dataset", "Image/SSM/s1.jpg", True),
    ("cuhk_sysu", "CUHK-SYSU", "a.png", True),
    ("pku_reid", "images", "1.png", False),
    ("pku_reid", "images", "001/001_01_1.png", False),
    ("pku_reid", "images", "001_01_1.png", True),
    ("pku_reid", "PKU-Reid", "1.png", True),
  ],
)
def test_names_that_say_nothing_need_content(
  touch, name, folder, inside, there
):
  root = touch(f"{folder}/{inside}", f"{folder}/readme.txt")
  place = f"{root}/{folder}"
  for start in (root, place):
    found = find_sets.locate(PUBLIC_SETS[name], [start])
    assert found == (place if there else "")
