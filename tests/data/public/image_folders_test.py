from __future__ import annotations

import pathlib
import re
import shutil

import pytest

from metabin_jax.data.public import image_folders
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.errors import UserError

NAME = re.compile(r"(?P<pid>\d+)_(?P<cam>\d)\.png")


def test_lists_by_name(touch):
  root = touch(
    "b/2_1.png",
    "b/1_1.png",
    "a/x/3_2.png",
    "b/odd.png",
    "a/x/odd.png",
    "a/x/1_1.png.jpg",
    "a/x/._3_2.png",
    "a/x/Thumbs.db",
    "a/x/list.txt",
    "a/1_1.png",
  )
  found, unknown = image_folders.scan(root, ["b", "a/x"], NAME, layout="it")
  assert [image.name for image in found] == [
    "a/x/3_2.png",
    "b/1_1.png",
    "b/2_1.png",
  ]
  assert found[0].folder == "a/x"
  assert found[0].fields == {"pid": "3", "cam": "2"}
  assert found[0].path == str(pathlib.Path(root, "a", "x", "3_2.png"))
  assert unknown == ("a/x/1_1.png.jpg", "a/x/odd.png", "b/odd.png")


def test_paths_are_absolute(touch, monkeypatch):
  monkeypatch.chdir(touch("set/a/1_1.png"))
  (image,), _ = image_folders.scan("set", ["a"], NAME, layout="it")
  assert pathlib.Path(image.path).is_absolute()


def test_a_missing_folder_is_named(touch):
  root = touch("c/1_1.png", "d/1_1.png", "x.txt", "y.png")
  with pytest.raises(
    UserError, match=r"has no folder a/x, it has the folders c, d and 2 files"
  ):
    image_folders.scan(root, ["a/x"], NAME, layout="a/x/*.png")
  with pytest.raises(UserError, match=r"no folder a, it has 1 files; want it"):
    image_folders.scan(f"{root}/c", ["a"], NAME, layout="it")


def test_present(touch):
  root = touch("c/d/1_1.png", "e")
  assert image_folders.present(root, ("c/d", "e", "c")) == ("c/d", "c")


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_a_file_of_the_system_beside_the_images(name, miniature, tmp_path):
  public = PUBLIC_SETS[name]
  module = public.list_items.__module__.rpartition(".")[2]
  variant = "metabin" if name == "cuhk_sysu" else ""
  root = tmp_path / "copy"
  shutil.copytree(miniature(module, variant), root)
  options = {key: values[0] for key, values in public.options.items()}
  before = public.list_items(str(root), options)
  assert before.items
  for folder in {pathlib.Path(item.path).parent for item in before.items}:
    (folder / "Thumbs.db").write_bytes(b"\0")
  assert public.list_items(str(root), options) == before
