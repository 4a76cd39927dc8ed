"""`metabin prepare` from its words to the cache that training reads."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import shutil
import signal
import types

import known_sets
import pytest
import tiny_run

from metabin_jax.cli import data_options
from metabin_jax.cli.main import main
from metabin_jax.data import images, pixel_preparation, readers
from metabin_jax.errors import UserError
from metabin_jax.runtime import loop

SIZE = ("--height=32", "--width=16")


@pytest.fixture(name="shop")
def shop_fixture(tmp_path):
  """A folder with twelve pictures of four persons."""
  for person in range(4):
    for image in range(3):
      path = tmp_path / "shop" / f"p{person}" / f"{image}_c{image}.png"
      tiny_run.write_image(path, seed=3 * person + image)
  return f"folder:{tmp_path / 'shop'}"


@pytest.fixture(name="prepare")
def prepare_fixture(tmp_path, capsys):
  """prepare(words) -> (status, output, messages)."""

  def prepare(*words):
    capsys.readouterr()
    status = main(["prepare", *words, f"--cache-dir={tmp_path / 'cache'}"])
    return status, *capsys.readouterr()

  return prepare


@pytest.fixture(name="decoded")
def decoded_fixture(monkeypatch):
  paths = []
  real = images.load_image
  monkeypatch.setattr(
    images, "load_image", lambda *a: paths.append(a[0]) or real(*a)
  )
  return paths


def test_help(capsys):
  assert main(["prepare", "--help"]) == 0
  out, _ = capsys.readouterr()
  assert out.startswith("usage: metabin prepare")
  for word in ("SPEC", "--height", "--width", "--cache-dir"):
    assert word in out


def test_what_is_prepared_and_said(prepare, shop, tmp_path, decoded):
  status, out, said = prepare(shop, *SIZE)
  assert status == 0
  (folder,) = (tmp_path / "cache" / "pixels").iterdir()
  size = (folder / "images.bin").stat().st_size
  assert out.splitlines() == [
    f"shop: 12 images of 32x16 pixels, {size:,} bytes, {folder}",
    "all checksums are right; 0 images had to be made again",
  ]
  assert "preparing shop: 12 of 12 images, " in said
  assert len(decoded) == 12
  assert prepare(shop, *SIZE)[:2] == (0, out)
  assert len(decoded) == 12


def test_words_on_public_data_sets_reach_the_reader(prepare, shop, monkeypatch):
  opened = []

  def open_dataset(spec):
    opened.append(spec)
    raise UserError("enough")

  monkeypatch.setattr(readers, "open_dataset", open_dataset)
  words = {"allow_partial": True, "licensed_copy": True}
  for flags in ((), ("--allow-partial", "--i-have-a-licensed-copy")):
    assert prepare("market1501:m", *flags)[0] == 2
  assert opened == [
    "market1501:m",
    *data_options.apply(["market1501:m"], **words),
  ]
  assert opened[0] != opened[1]


def test_notes_on_the_data_are_said_and_kept(prepare, shop, tmp_path):
  known_sets.build(tmp_path, "dukemtmc")
  flags = ("--allow-partial", "--i-have-a-licensed-copy")
  status, _, said = prepare(f"dukemtmc:{tmp_path}", *SIZE, *flags)
  assert status == 0
  assert "note on training: dukemtmc is partial: train: expected" in said
  assert "taken down on 25 April 2019" in said
  (about,) = tmp_path.glob("cache/pixels/*/about.json")
  notes = json.loads(about.read_text())["notes"]
  assert [f"note on training: {note}" in said for note in notes] == [True] * 2
  assert "note on training" not in prepare(shop, *SIZE)[2]


def test_default_size(prepare, shop):
  _, out, _ = prepare(shop)
  assert "images of 256x128 pixels" in out


def test_damage_is_found_and_mended(prepare, shop, tmp_path, decoded):
  prepare(shop, *SIZE)
  (file,) = tmp_path.glob("cache/pixels/*/images.bin")
  whole = file.read_bytes()
  file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
  status, out, _ = prepare(shop, *SIZE)
  assert status == 0
  assert "1 images had to be made again" in out
  assert len(decoded) == 13
  assert file.read_bytes() == whole


def test_training_finds_what_was_prepared(
  prepare, tmp_path, capsys, decoded, monkeypatch
):
  def stop(*unused):
    raise UserError("the batches are next")

  spec = f"manifest:{tiny_run.root()}/train.csv"
  status, out, _ = prepare(spec, *SIZE)
  assert status == 0
  assert out.startswith("train: 36 images")
  decoded.clear()
  monkeypatch.setattr(loop, "_create_source", stop)
  options = (
    "--config.data.cache=disk",
    f"--config.data.cache_dir={tmp_path / 'cache'}",
  )
  assert tiny_run.train(tmp_path / "run", *options) == 2
  said = capsys.readouterr().err
  assert "36 images of train are prepared" in said
  assert "the batches are next" in said
  assert not decoded


def test_training_images_only(prepare, tmp_path, decoded):
  rows = [*tiny_run.train_rows("a"), *tiny_run.target_rows("x")]
  spec = tiny_run.write_manifest(tmp_path / "both.csv", rows)
  assert prepare(spec, *SIZE)[0] == 0
  assert len(decoded) == len(tiny_run.train_rows("a"))


def test_several_data_sets(prepare, shop, tmp_path):
  shutil.copytree(tmp_path / "shop", tmp_path / "mall")
  status, out, _ = prepare(shop, f"folder:{tmp_path / 'mall'}", *SIZE)
  assert status == 0
  assert [line.split(":")[0] for line in out.splitlines()[:2]] == [
    "shop",
    "mall",
  ]
  assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 2


def test_ctrl_c_keeps_what_is_finished(
  prepare, shop, tmp_path, monkeypatch, decoded
):
  monkeypatch.setattr(pixel_preparation, "CHUNK", 4)
  real = images.load_image

  def load(*args):
    if len(decoded) == 5:
      os.kill(os.getpid(), signal.SIGINT)
    return real(*args)

  monkeypatch.setattr(os, "cpu_count", lambda: 1)
  # A test run in the background of a shell has SIGINT ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with monkeypatch.context() as interrupted:
      interrupted.setattr(images, "load_image", load)
      status, out, said = prepare(shop, *SIZE)
  finally:
    signal.signal(signal.SIGINT, before)
  assert (status, out) == (130, "")
  assert said.endswith(
    "interrupted; what is finished stays, the same command continues.\n"
  )
  assert prepare(shop, *SIZE)[0] == 0
  assert len(set(decoded)) == 12
  # The chunk that was finished stays. The signal may come while the second one
  # is being committed, which is then made again.
  counts = collections.Counter(decoded)
  assert [counts[path] for path in decoded[:4]] == [1] * 4
  assert counts.total() <= 12 + 4


def test_mistakes(prepare, shop, tmp_path, monkeypatch):
  def refused(*words):
    status, out, said = prepare(*words)
    assert (status, out) == (2, "")
    *_, last = said.splitlines()
    assert last.startswith("metabin prepare: ")
    return last

  assert "SPEC; see `metabin prepare --help`" in refused()
  assert "does not say how to read it" in refused("shop")
  assert "--height: 0 is not a number of pixels" in refused(shop, "--height=0")
  assert "--width: -3 is not a number of pixels" in refused(shop, "--width=-3")
  assert "--width: x is not a number of pixels" in refused(shop, "--width=x")
  assert "--hight" in refused(shop, "--hight=3")
  test = tmp_path / "test"
  tiny_run.write_image(test / "query" / "a" / "0_c1.png", seed=0)
  tiny_run.write_image(test / "gallery" / "a" / "0_c2.png", seed=1)
  said = refused(shop, f"folder:{test}")
  assert f"folder:{test} has no training image; name data sets" in said
  assert not (tmp_path / "cache").exists()
  bad = pathlib.Path(tmp_path, "shop", "p1", "1_c1.png")
  bad.write_bytes(b"no image")
  assert f"image {bad} cannot be read" in refused(shop)
  usage = types.SimpleNamespace(free=10)
  shutil.rmtree(tmp_path / "cache")
  with monkeypatch.context() as full:
    full.setattr(shutil, "disk_usage", lambda place: usage)
    assert "bytes, and 10 are free; free some space" in refused(shop)
  (tmp_path / "cache").touch()
  assert "--cache-dir=" in refused(shop)
