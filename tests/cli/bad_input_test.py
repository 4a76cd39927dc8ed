"""Every mistake: status 2, one sentence, no traceback, nothing left behind."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest
import tiny_run

from metabin_jax.cli.main import main

SECTIONS = "--config.data."


@pytest.fixture(name="refused")
def refused_fixture(tmp_path, capsys):
  """refused(options) -> the message; checks all that holds of mistakes."""

  def check(*options: str, words: list[str] | None = None) -> str:
    workdir = tmp_path / "run"
    capsys.readouterr()
    status = main(words or tiny_run.argv(workdir, *options))
    out, said = capsys.readouterr()
    assert status == 2, said
    assert "Traceback" not in said
    assert out == ""
    *_, last = said.strip().splitlines()
    assert last.startswith(("metabin train: ", "metabin evaluate: "))
    if words is None:
      assert not workdir.exists()
    return last

  return check


def test_sources_that_are_not_there(refused):
  said = refused(SECTIONS + "sources=folder:/no/such/folder")
  assert "/no/such/folder" in said


def test_no_source(refused):
  assert "no source" in refused(SECTIONS + "sources=()")


def test_an_empty_folder(refused, tmp_path):
  (tmp_path / "empty").mkdir()
  said = refused(SECTIONS + f"sources=folder:{tmp_path / 'empty'}")
  assert str(tmp_path / "empty") in said


def test_a_domain_without_images(refused):
  spec = f"manifest:{tiny_run.root()}/train.csv?domains=a,nowhere"
  assert "nowhere" in refused(SECTIONS + f"sources=('{spec}',)")


def test_one_domain_only(refused):
  spec = f"manifest:{tiny_run.root()}/train.csv?domains=a"
  said = refused(SECTIONS + f"sources={spec}")
  assert "only one domain (a)" in said
  assert "at least 2" in said


def test_a_batch_that_does_not_divide(refused):
  said = refused(SECTIONS + "batch_size=14")
  assert "batch size 14 does not divide into 3 domains" in said
  assert "use 12 or 18" in said


@pytest.mark.parametrize("domains", [3, 9])
def test_too_many_meta_train_domains(refused, domains):
  said = refused(f"--config.meta.num_mtrain={domains}")
  assert f"{domains} meta-train domains do not fit 3 domains" in said


def test_a_target_with_trained_persons(refused, tmp_path):
  rows = [
    ("a0", camera, "x", "gallery" if camera else "query") for camera in range(2)
  ]
  path = tmp_path / "again.csv"
  tiny_run.write_manifest(path, rows)
  said = refused(SECTIONS + f"targets=('manifest:{path}?name=train',)")
  assert "shares 1 persons with the sources, such as train/a0" in said


def test_queries_without_a_match(refused, tmp_path):
  rows = [("p", 0, "x", "query"), ("q", 1, "x", "gallery")]
  spec = tiny_run.write_manifest(tmp_path / "none.csv", rows)
  said = refused(SECTIONS + f"targets={spec}")
  assert "none of the 1 queries has a match" in said
  assert "p" in said


@pytest.mark.parametrize(
  ("option", "parts"),
  [
    ("--config.modle.width=1", ["no key modle", 'Did you mean "model"']),
    ("--config.model.widht=1", ["no key widht", 'Did you mean "width"']),
    ("--config.loss.weights.cee=1", ["no key cee"]),
    ("--config.model.width=wide", ["--config.model.width=wide", "float"]),
    ("--config.train.steps=1.5", ["--config.train.steps=1.5", "int"]),
    ("--config.eval.cross_camera=maybe", ["cross_camera", "maybe"]),
    ("--config.data.sources=a:b,c:d", ["a:b,c:d", "tuple", "quote"]),
    ("--config.optim.lr=nan", ["optim.lr is nan", "finite"]),
    ("--config.model.backbone=vgg", ["model.backbone is 'vgg'", "resnet50"]),
    ("--config.model.norm=gn", ["model.norm is 'gn'", "bin_half"]),
    ("--config.model.norm=bn", ["'bn' has no rho", "joint"]),
    ("--workdir=", ["--workdir=DIR are needed"]),
    ("--wordkir=a", ["wordkir"]),
    ("--json=/", ["--json=/ is a folder"]),
    ("stray", ["'stray' is no flag"]),
  ],
)
def test_flags(refused, option, parts):
  said = refused(option)
  for part in parts:
    assert part in said


@pytest.mark.parametrize("missing", ["config", "workdir"])
def test_flags_that_are_missing(refused, tmp_path, missing):
  words = [
    word
    for word in tiny_run.argv(tmp_path / "run")
    if not word.startswith(f"--{missing}")
  ]
  assert "--config=FILE and --workdir=DIR" in refused(words=words)
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("text", "variant", "parts"),
  [
    (None, "", ["mine.py is no file"]),
    ("def get_config(:\n", "", ["invalid syntax", "mine.py, line 1"]),
    ("x = 1\n", "", ["no attribute 'get_config'"]),
    ("import nowhere_to_be_found\n", "", ["nowhere_to_be_found", "line 1"]),
    (
      "def get_config(v):\n  raise ValueError(f'no variant {v}')\n",
      ":bnn",
      ["no variant bnn", "mine.py, line 2"],
    ),
    ("def get_config():\n  return 3\n", "", ["returns int"]),
    ("def get_config():\n  return {}\n", "", ["returns dict"]),
    (
      "from metabin_jax import default_config\n"
      "def get_config():\n"
      "  config = default_config.get_config()\n"
      "  config.model.widht = 1.0\n"
      "  return config\n",
      "",
      ["unknown configuration key model.widht", "did you mean model.width?"],
    ),
  ],
)
def test_configuration_files(refused, tmp_path, text, variant, parts):
  file = tmp_path / "mine.py"
  if text is not None:
    file.write_text(text)
  words = ["train", f"--config={file}{variant}", f"--workdir={tmp_path}/run"]
  said = refused(words=words)
  for part in parts:
    assert part in said
  assert not (tmp_path / "run").exists()


def test_a_configuration_file_inherits_nothing_from_the_one_before(
  refused, tmp_path
):
  refused(SECTIONS + "batch_size=14")  # loads a file that has get_config
  (tmp_path / "mine.py").write_text("x = 1\n")
  words = [
    "train",
    f"--config={tmp_path / 'mine.py'}",
    f"--workdir={tmp_path}/run",
  ]
  assert "no attribute 'get_config'" in refused(words=words)


def test_a_workdir_that_is_a_file_or_in_one(refused, tmp_path):
  file = tmp_path / "file"
  file.write_text("mine")
  for workdir in (file, file / "below"):
    said = refused(words=tiny_run.argv(workdir))
    assert f"--workdir={workdir} cannot be a folder" in said
  assert file.read_text() == "mine"


@pytest.mark.parametrize(
  ("option", "change"),
  [
    ("--config.optim.lr=0.02", "optim.lr was 0.01, is 0.02"),
    ("--config.model.width=0.25", "model.width was 0.125, is 0.25"),
    ("--config.train.steps_per_epoch=5", "train.steps_per_epoch was 4, is 5"),
    ("--config.train.seed=1", "train.seed was 2020, is 1"),
  ],
)
def test_a_workdir_with_a_run_of_other_settings(refused, option, change):
  workdir = tiny_run.finished()
  before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
  said = refused(words=tiny_run.argv(workdir, option))
  assert f"{workdir} holds a run with other settings ({change})" in said
  after = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
  assert before == after


def folder_of_images(path: pathlib.Path) -> pathlib.Path:
  """Four persons with every kind of image; one person has a single image."""
  tiny_run.write_image(path / "1" / "cmyk.jpg", 1, "CMYK")
  tiny_run.write_image(path / "1" / "grey.png", 2, "L")
  tiny_run.write_image(path / "2" / "deep.png", 3, "I;16")
  tiny_run.write_image(path / "2" / "alpha.png", 4, "RGBA")
  tiny_run.write_image(path / "3" / "single.png", 5)
  tiny_run.write_image(path / "4" / "palette.png", 6, "P")
  tiny_run.write_image(path / "4" / "rgb.jpeg", 7)
  return path


def baseline_on(folder, *options):
  return (
    *tiny_run.BASELINE,
    SECTIONS + f"sources=folder:{folder}",
    SECTIONS + "targets=()",
    SECTIONS + "batch_size=8",
    "--config.meta.first_base_updates=1",
    "--config.train.steps=1",
    *options,
  )


def test_odd_images_and_a_person_with_one_image_work(tmp_path, capsys):
  folder = folder_of_images(tmp_path / "images")
  assert tiny_run.train(tmp_path / "run", *baseline_on(folder)) == 0
  said = capsys.readouterr().err
  assert "7 images of 4 persons in 1 domains" in said
  assert "1 of 4 persons have a single image" in said
  assert tiny_run.steps(tmp_path / "run") == (1,)
  # No target was scored, so there are no scores.
  assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("kind", ["truncated", "text"])
def test_a_broken_image_is_named_and_mended(tmp_path, capsys, kind):
  folder = folder_of_images(tmp_path / "images")
  file = folder / "3" / "single.jpg"
  (folder / "3" / "single.png").unlink()
  tiny_run.write_image(file, 5)
  good = file.read_bytes()
  file.write_bytes(good[: len(good) // 2] if kind == "truncated" else b"hello")
  workdir = tmp_path / "run"
  assert tiny_run.train(workdir, *baseline_on(folder)) == 2
  said = capsys.readouterr().err
  assert str(file) in said.splitlines()[-1]
  assert "Traceback" not in said
  left = {p.name for p in workdir.iterdir()} - {"tensorboard"}
  # Both complete, no checkpoint.
  assert left == {"lock", "run.json", "metrics.jsonl"}
  assert (workdir / "metrics.jsonl").read_bytes() == b""
  assert json.loads((workdir / "run.json").read_text())["num_classes"] == 4


def test_evaluate(refused, tmp_path):
  run = str(tiny_run.finished())
  said = refused(words=["evaluate", str(tmp_path)])
  assert f"{tmp_path} holds no run" in said
  assert "--fast" in refused(words=["evaluate", run, "--fast"])
  assert "RUN" in refused(words=["evaluate"])
  assert "on" in refused(words=["evaluate", run, "--cross-camera=maybe"])
  assert "given twice" in refused(words=["evaluate", run, f"{run}/../metabin"])
  assert "has steps 4, 6" in refused(words=["evaluate", run, "--step=3"])
  said = refused(words=["evaluate", run, f"--json={tmp_path}"])
  assert f"--json={tmp_path} is a folder" in said
  said = refused(words=["evaluate", run, "--target=folder:/no/where"])
  assert "/no/where" in said
  said = refused(
    words=["evaluate", run, f"--add-target=manifest:{tiny_run.root()}/test.csv"]
  )
  assert "2 data sets are named 'test'" in said
  trained = tmp_path / "trained.csv"
  tiny_run.write_manifest(
    trained, [("a0", 0, "a", "query"), ("a0", 1, "a", "gallery")]
  )
  said = refused(
    words=["evaluate", run, f"--target=manifest:{trained}?name=train"]
  )
  assert "shares 1 persons with the sources" in said


def test_evaluate_a_run_whose_checkpoints_are_all_damaged(refused, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(tiny_run.finished(), workdir)
  for step in tiny_run.steps(workdir):
    tiny_run.flip_byte(workdir, step)
  assert "no checkpoint in" in refused(words=["evaluate", str(workdir)])
