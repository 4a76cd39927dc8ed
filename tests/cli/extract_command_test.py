"""`metabin extract` and the Extractor."""

from __future__ import annotations

import os
import shutil

import jax
import numpy as np
import picture_folder
import pytest
import tiny_run
from miniatures import viper
from picture_folder import COUNT, command
from PIL import Image

import metabin_jax
from metabin_jax.cli.main import main
from metabin_jax.errors import UserError
from metabin_jax.evaluation import embedding_file, extract
from metabin_jax.runtime import scoring
from metabin_jax.runtime.extractor import Extractor


@pytest.fixture(scope="module", name="folder")
def folder_fixture(tmp_path_factory):
  return picture_folder.write(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module", name="extractor")
def extractor_fixture():
  return picture_folder.extractor()


def test_embeddings_are_those_of_the_network(folder, tmp_path, capsys):
  out = tmp_path / "e.npz"
  assert main(command(folder, out)) == 0
  assert f"{out}: 11 embeddings of 64 numbers" in capsys.readouterr().out
  found = embedding_file.load(out)
  assert found.names == tuple(f"{n:02d}.png" for n in range(COUNT))
  run = scoring.load_run(tiny_run.finished())
  images = np.stack(
    [np.asarray(Image.open(folder / name)) for name in found.names]
  )
  want = run.network.apply(run.variables, images, mode="eval").embedding
  # Compiled against operation by operation, and in another batch size: some
  # 1e-6 of an embedding's length apart.
  apart = np.linalg.norm(found.vectors - want, axis=1)
  assert (apart < 1e-5 * np.linalg.norm(want, axis=1)).all()
  assert found.card["input"]["height_px"] == 32
  assert found.card["embedding"] == {
    "dim": 64,
    "metric": "cosine",
    "flip": False,
  }
  assert found.card["model"]["step"] == tiny_run.STEPS
  assert len(found.card["training"]["sources"]) == 1
  assert os.listdir(tmp_path) == ["e.npz"]


def test_labels_of_a_data_set_are_kept(tmp_path):
  out = tmp_path / "e.npz"
  spec = f"manifest:{tiny_run.root()}/test.csv"
  assert main(command(spec, out)) == 0
  found = embedding_file.load(out)
  assert len(found.names) == 15
  assert len(set(found.pids)) == 5
  assert set(found.camids) == {0, 1, 2}


def test_public_sets_that_are_not_whole_are_embedded_when_asked_for(
  tmp_path, capsys
):
  viper.build(tmp_path)
  out = tmp_path / "e.npz"
  words = command(f"viper:{tmp_path}", out)
  assert main(words) == 2
  assert "(--allow-partial)" in capsys.readouterr().err
  assert main([*words, "--allow-partial"]) == 0
  assert "note: viper is partial" in capsys.readouterr().err
  found = embedding_file.load(out)
  assert "cam_a/000_0.bmp" in found.names
  assert len(set(found.pids)) == 16


def test_an_embedding_does_not_depend_on_the_others(folder, extractor):
  paths = sorted(folder.iterdir())
  together = extractor(paths)
  for rows in ([3], [10, 3, 0], range(COUNT)):
    alone = extractor([paths[row] for row in rows])
    np.testing.assert_array_equal(alone, together[list(rows)])
  # Another batch size is another program, which rounds differently: measured
  # 1.5e-6 for this network.
  other = Extractor.from_checkpoint(tiny_run.finished(), batch_size=3)(paths)
  length = np.linalg.norm(together, axis=1)
  assert (np.linalg.norm(other - together, axis=1) < 5e-6 * length).all()


def test_images_in_memory(folder, extractor):
  paths = sorted(folder.iterdir())[:3]
  want = extractor(paths)
  pictures = [Image.open(path) for path in paths]
  arrays = [np.asarray(picture) for picture in pictures]
  for images in (pictures, arrays, np.stack(arrays)):
    np.testing.assert_array_equal(extractor(images), want)
  blue_first = np.stack(arrays)[..., ::-1]
  np.testing.assert_array_equal(extractor(blue_first, order="BGR"), want)
  np.testing.assert_array_equal(extractor(str(paths[0])), want[:1])
  assert extractor([]).shape == (0, 64)
  assert extractor.dim == 64
  with pytest.raises(UserError, match=r"want \[H, W, 3\]; channels come last"):
    extractor([arrays[0].transpose(2, 0, 1)])
  assert metabin_jax.Extractor is Extractor


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"batch_size": 0}, "batch_size is 0; give a whole number from 1"),
    ({"batch_size": -1}, "batch_size is -1; give"),
    ({"batch_size": 2.5}, r"batch_size is 2\.5; give"),
    ({"workers": 0}, "workers is 0; give"),
    ({"devices": []}, "devices is empty; name at least one"),
  ],
)
def test_options_of_the_extractor_that_are_none(options, message):
  with pytest.raises(UserError, match=message):
    Extractor.from_checkpoint(tiny_run.finished(), **options)


@pytest.mark.parametrize(
  "images", [None, 3, b"a.jpg", [b"a.jpg"], [None], {"a": "a.jpg"}]
)
def test_what_the_extractor_does_not_take(extractor, images):
  with pytest.raises(UserError, match=r"of type .* accepted"):
    extractor(images)


def test_mirrored_images_and_devices(folder, extractor):
  paths = sorted(folder.iterdir())
  several = Extractor.from_checkpoint(
    tiny_run.finished(), batch_size=8, devices=jax.local_devices()[:4]
  )
  np.testing.assert_allclose(
    several(paths), extractor(paths), rtol=1e-4, atol=1e-5
  )
  flipped = Extractor.from_checkpoint(tiny_run.finished(), flip=True)
  rows = flipped([Image.open(path) for path in paths])
  np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
  assert flipped.card["embedding"]["flip"]


def test_unreadable_images(folder, tmp_path, capsys):
  pictures = tmp_path / "pictures"
  shutil.copytree(folder, pictures)
  (pictures / "05.png").write_bytes(b"no image")
  out = tmp_path / "e.npz"
  assert main(command(pictures, out)) == 2
  assert "05.png cannot be read" in capsys.readouterr().err
  assert not out.exists()
  assert main(command(pictures, out, "--skip-unreadable")) == 0
  printed = capsys.readouterr()
  assert "10 embeddings of 64 numbers, 1 left out" in printed.out
  assert "left out 05.png: image" in printed.err
  found = embedding_file.load(out)
  assert "05.png" not in found.names
  whole = tmp_path / "whole.npz"
  assert main(command(folder, whole)) == 0
  every = embedding_file.load(whole)
  keep = [name != "05.png" for name in every.names]
  np.testing.assert_allclose(found.vectors, every.vectors[keep], rtol=1e-6)


def test_files_of_folders_that_are_not_taken_are_counted(
  folder, tmp_path, capsys
):
  pictures = tmp_path / "pictures"
  shutil.copytree(folder, pictures)
  for name in ("a.GIF", "b.gif", "deep/c.jp2", "deep/.hidden", "README"):
    (pictures / name).parent.mkdir(exist_ok=True)
    (pictures / name).write_bytes(b"x")
  assert main(command(pictures, tmp_path / "e.npz")) == 0
  said = capsys.readouterr().err
  assert said.count("note:") == 1
  assert "4 files of the folders have other endings" in said
  assert ".gif 2" in said
  assert ".jp2 1" in said
  assert "no ending 1" in said


def test_parquet_refuses_odd_names_before_any_work(
  folder, tmp_path, capsys, monkeypatch
):
  pytest.importorskip("pyarrow")
  odd = tmp_path / "odd"
  odd.mkdir()
  try:
    shutil.copy(folder / "00.png", os.fsencode(odd) + b"/lat\xe9.png")
  except OSError:
    pytest.skip("this file system wants UTF-8")
  monkeypatch.setattr(Extractor, "embed_files", None)
  assert main(command(odd, tmp_path / "e.parquet")) == 2
  assert "is not UTF-8, which Parquet" in capsys.readouterr().err
  assert os.listdir(tmp_path) == ["odd"]


def test_mistakes(folder, tmp_path, capsys):
  def mistake(*words):
    assert main(list(words)) == 2
    return capsys.readouterr().err

  run, out = str(tiny_run.finished()), f"--out={tmp_path / 'e.npz'}"
  assert "says no format" in mistake(
    "extract", run, str(folder), f"--out={tmp_path / 'e.csv'}"
  )
  assert "holds no run" in mistake("extract", str(tmp_path), str(folder), out)
  assert "does not exist" in mistake("extract", run, str(folder / "no"), out)
  assert "0 is no such number" in mistake(
    "extract", run, str(folder), out, "--batch-size=0"
  )
  for number in (-1, 9):
    said = mistake("extract", run, str(folder), out, f"--devices={number}")
    assert f"--devices={number}, and this machine has 8; give" in said
  assert not os.listdir(tmp_path)


def test_embedder_and_extractor_are_one(folder, extractor):
  run = scoring.load_run(tiny_run.finished())
  embed = extract.make_embedder(run.network, run.variables, 8)
  images = np.stack(
    [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
  )
  np.testing.assert_array_equal(embed(images), extractor(images))
