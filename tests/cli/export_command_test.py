"""`metabin export` to StableHLO; tests/interop/onnx_test.py has ONNX."""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny_run
from jax import export

from metabin_jax.cli.main import main
from metabin_jax.interop import onnx_file, stablehlo
from metabin_jax.runtime import exporting
from metabin_jax.runtime.extractor import Extractor

EXAMPLE = pathlib.Path("docs", "examples", "embed_stablehlo.py")
# Runs a script where neither this package nor TensorFlow can be imported.
ALONE = """
import runpy, sys
import numpy as np
for name in ("metabin_jax", "flax", "tensorflow"):
  sys.modules[name] = None
script, result, *sys.argv[1:] = sys.argv[1:]
np.save(result, runpy.run_path(script)["embeddings"])
"""


@pytest.fixture(scope="module", name="paths")
def paths_fixture(tmp_path_factory):
  folder = tmp_path_factory.mktemp("pictures")
  paths = [folder / f"{number}.png" for number in range(3)]
  for number, path in enumerate(paths):
    tiny_run.write_image(path, seed=100 + number)
  return [str(path) for path in paths]


def command(out, *more):
  return ["export", str(tiny_run.finished()), f"--out={out}", *more]


def mistake(words, capsys):
  assert main(words) == 2
  return capsys.readouterr().err


@pytest.fixture(scope="module", name="model")
def model_fixture(tmp_path_factory):
  """A model that was compared on the rendered pictures."""
  out = tmp_path_factory.mktemp("model") / "m.stablehlo"
  assert main(command(out)) == 0
  return out


def test_the_card_says_what_is_in_the_file(model):
  card = json.loads(model.with_name("m.stablehlo.json").read_text())
  assert card["input"]["shape"] == ["n", 32, 16, 3]
  assert card["input"]["dtype"] == "uint8"
  assert card["embedding"]["flip"] is False
  assert len(card["training"]["sources"]) == 1
  digest = hashlib.sha256(model.read_bytes()).hexdigest()
  assert card["file"]["sha256"] == digest
  assert card["parity"]["images"] == 100
  assert 0 < card["parity"]["relative"] < exporting.LIMIT


def test_any_number_of_images_on_every_platform(model, paths):
  found = export.deserialize(bytearray(model.read_bytes()))
  assert found.platforms == ("cpu", "cuda", "tpu")
  assert not found.disabled_safety_checks
  assert str(found.in_avals[0].shape[0]) == "n"
  images = np.random.default_rng(0).integers(0, 256, (4, 32, 16, 3), np.uint8)
  extractor = Extractor.from_checkpoint(tiny_run.finished())
  np.testing.assert_allclose(
    stablehlo.load(model)(images), extractor(images), atol=1e-4
  )
  with pytest.raises(ValueError, match="shape"):
    found.call(images[:, :16])


def test_the_example_needs_neither_this_package_nor_tensorflow(
  model, paths, tmp_path
):
  result = tmp_path / "e.npy"
  words = [sys.executable, "-c", ALONE, str(EXAMPLE), str(result), str(model)]
  done = subprocess.run(
    [*words, *paths],
    cwd=tiny_run.REPOSITORY,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert "(3, 64)" in done.stdout
  want = Extractor.from_checkpoint(tiny_run.finished())(paths)
  np.testing.assert_allclose(np.load(result), want, atol=1e-4)


def test_examples_are_short():
  folder = tiny_run.REPOSITORY / EXAMPLE.parent
  for path in folder.glob("*.py"):
    assert len(path.read_text().splitlines()) <= 20, path


def test_mirrored_images(paths, tmp_path, capsys):
  out = tmp_path / "new" / "m.stablehlo"
  assert main(command(out, "--flip", "--images", *paths)) == 0
  said = capsys.readouterr().out
  assert "uint8 [n, 32, 16, 3] to float32 [n, 64]" in said
  assert "largest difference from the package on 3 images: " in said
  rows = stablehlo.load(out)(np.zeros((2, 32, 16, 3), np.uint8))
  np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
  card = json.loads(out.with_name("m.stablehlo.json").read_text())
  assert card["embedding"]["flip"] is True


def test_a_file_that_differs_is_not_left(
  model, paths, tmp_path, capsys, monkeypatch
):
  out = tmp_path / "m.stablehlo"
  out.write_text("an older one")

  def load(path):
    call = stablehlo.load(model)
    return lambda images: call(images) * np.float32(1.01)

  monkeypatch.setattr(exporting.formats, "format_of", lambda path: Wrong)

  class Wrong:
    require, describe = stablehlo.require, stablehlo.describe

    @staticmethod
    def save(path, folded, card):
      path.write_bytes(b"")

  Wrong.load = staticmethod(load)
  said = mistake(command(out, "--images", *paths), capsys)
  assert f"{out} is not written: it would differ from the package by" in said
  assert [path.name for path in tmp_path.iterdir()] == ["m.stablehlo"]
  assert out.read_text() == "an older one"


def test_mistakes(paths, tmp_path, capsys, monkeypatch):
  said = mistake(command(tmp_path / "m.pb"), capsys)
  assert "says no format; choose one of .stablehlo, .onnx" in said
  assert "is a folder" in mistake(command(tmp_path), capsys)
  out = tmp_path / "m.stablehlo"
  card = tmp_path / "m.stablehlo.json"
  card.mkdir()
  assert f"{card} is a folder" in mistake(command(out), capsys)
  assert not out.exists()
  card.rmdir()
  said = mistake(["export", str(tmp_path), f"--out={out}"], capsys)
  assert "holds no run" in said
  said = mistake(command(out, "--images", str(tmp_path)), capsys)
  assert "holds no image" in said
  monkeypatch.setattr(onnx_file, "_PACKAGES", ("no_such_package",))
  said = mistake(command(tmp_path / "m.onnx"), capsys)
  assert "pip install -e '.[onnx]'" in said
  out.write_bytes(b"nothing")
  with pytest.raises(Exception, match="no StableHLO file"):
    stablehlo.load(out)
