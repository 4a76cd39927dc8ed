"""`metabin train` from the flags to the files it leaves."""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys

import numpy as np
import pytest
import tiny_run

from metabin_jax.cli import outputs
from metabin_jax.cli.main import main
from metabin_jax.runtime import experiment
from metabin_jax.runtime.metric_writer import load_metrics


@pytest.fixture(name="no_scores")
def no_scores_fixture():
  """Options that end a run with its last checkpoint."""
  return ("--config.data.targets=()",)


def test_what_a_run_leaves(capsys):
  workdir = tiny_run.finished()
  capsys.readouterr()
  assert {"checkpoints", "metrics.jsonl", "run.json", "result.json"} <= {
    p.name for p in workdir.iterdir()
  }
  assert tiny_run.steps(workdir) == (4, 6)
  lines = load_metrics(workdir)
  assert [line["step"] for line in lines] == [2, 4, 6]
  names = lines[0].keys()
  for name in (
    "lr",
    "beta",
    "loss/ce",
    "loss/triplet",
    "loss/total",
    "mtrain/shuffle",
    "mtrain/triplet",
    "mtrain/scatter",
    "mtest/triplet",
    "rho/mean",
    "rho/std",
  ):
    assert name in names
  # Every norm layer of ResNet-18: the stem, 16 in blocks, 3 shortcuts.
  layers = [n for n in names if n.endswith("/mean") and n != "rho/mean"]
  assert len(layers) == 20, layers
  assert lines[-1]["rho/mean"] < 1.0
  results = json.loads((workdir / "result.json").read_text())["results"]
  assert [row["target"] for row in results] == ["test"]
  assert results[0]["method"] == "metabin"
  assert results[0]["num_query"] == 5
  run = json.loads((workdir / "run.json").read_text())
  assert run["config"]["meta"]["first_base_updates"] == 2
  assert run["num_classes"] == 12


@pytest.mark.skipif(
  not importlib.util.find_spec("tensorboardX")
  and not importlib.util.find_spec("tensorboard"),
  reason="no TensorBoard",
)
def test_tensorboard_gets_the_same():
  events = list((tiny_run.finished() / "tensorboard").iterdir())
  assert events
  assert events[0].stat().st_size > 1000


def test_a_finished_run_is_scored_again(tmp_path, capsys):
  workdir = tiny_run.finished()
  capsys.readouterr()
  file = tmp_path / "new" / "scores.json"
  assert tiny_run.train(workdir, f"--json={file}") == 0
  out, said = capsys.readouterr()
  assert "nothing to train" in said
  assert "36 images of 12 persons in 3 domains" in said
  assert out.splitlines()[0].split() == [
    "target", "method", "rank-1", "rank-5", "rank-10", "mAP", "mINP",
    "valid/queries", "folds",
  ]  # fmt: skip
  assert file.read_bytes() == (workdir / "result.json").read_bytes()


def test_without_targets_earlier_scores_stay(tmp_path, capsys):
  workdir = tiny_run.finished()
  before = (workdir / "result.json").read_bytes()
  file = tmp_path / "scores.json"
  assert (
    tiny_run.train(workdir, f"--json={file}", "--config.data.targets=()") == 0
  )
  assert "was not written" in capsys.readouterr().err
  assert (workdir / "result.json").read_bytes() == before
  assert not file.exists()


def test_the_system_refuses_a_file(monkeypatch, capsys):
  def full(*_):
    raise OSError(28, "No space left on device", "runs/a.json")

  monkeypatch.setattr(outputs, "check_folder", full)
  words = ["train", "--config=configs/quickstart.py", "--workdir=runs/a"]
  assert main(words) == 2
  said = capsys.readouterr().err
  assert "runs/a.json: No space left on device" in said
  assert "Traceback" not in said


def test_the_module_trains_like_the_command(tmp_path, monkeypatch, no_scores):
  options = (*tiny_run.BASELINE, *no_scores)
  words = tiny_run.argv(tmp_path / "run", *options)
  monkeypatch.setattr(sys, "argv", ["train.py", *words[1:]])
  monkeypatch.delitem(sys.modules, "metabin_jax.train", raising=False)
  with pytest.raises(SystemExit) as left:
    runpy.run_module("metabin_jax.train", run_name="__main__")
  assert left.value.code == 0
  one = tiny_run.leaves(tmp_path / "run")
  other = tiny_run.leaves(tiny_run.finished(*tiny_run.BASELINE))
  assert {k: v.tobytes() for k, v in one.items()} == {
    k: v.tobytes() for k, v in other.items()
  }


@pytest.mark.slow
def test_bfloat16_is_finite(tmp_path, no_scores):
  assert (
    tiny_run.train(
      tmp_path,
      "--config.model.dtype=bfloat16",
      "--config.train.steps=2",
      "--config.meta.first_base_updates=1",
      "--config.train.log_every_steps=1",
      *no_scores,
    )
    == 0
  )
  first, second = load_metrics(tmp_path)
  assert "nonfinite" not in first
  assert "nonfinite" not in second
  exact = load_metrics(tiny_run.finished())[0]
  # Another number format, the same mathematics.
  np.testing.assert_allclose(second["loss/ce"], exact["loss/ce"], rtol=0.1)
  for name, leaf in tiny_run.leaves(tmp_path).items():
    assert np.isfinite(leaf).all(), name
    assert leaf.dtype.itemsize == 4, name


@pytest.mark.slow  # data/pipeline_test.py compares the loaders' batches
@pytest.mark.skipif(
  not importlib.util.find_spec("tensorflow"), reason="no TensorFlow"
)
def test_the_tf_loader_trains_the_same(tmp_path, no_scores):
  assert tiny_run.train(tmp_path, "--config.data.loader=tf", *no_scores) == 0
  # PNG files of the network's own size: not a bit of difference.
  assert load_metrics(tmp_path) == load_metrics(tiny_run.finished())


def test_beta_can_be_fixed_by_a_flag(tmp_path, monkeypatch):
  configs = []

  def stop(config, *unused):
    configs.append(config)
    raise KeyboardInterrupt

  monkeypatch.setattr(experiment, "create_experiment", stop)
  assert tiny_run.train(tmp_path, "--config.meta.beta_fixed=1") == 130
  assert configs[0].meta.beta_fixed == 1.0
  assert list(tmp_path.iterdir()) == []


def test_queries_that_cannot_be_scored_are_explained(tmp_path, capsys):
  workdir = tiny_run.finished()
  rows = [*tiny_run.target_rows(), ("alone", 0, "x", "query")]
  spec = tiny_run.write_manifest(tmp_path / "part.csv", rows)
  assert (
    tiny_run.train(
      workdir,
      f"--config.data.targets={spec}",
      f"--json={tmp_path / 'scores.json'}",
    )
    == 0
  )
  out, said = capsys.readouterr()
  assert "1 of 6 queries cannot be scored" in said
  assert "part/alone" in said
  assert " 5/6 " in out
  # Its own targets again, for the tests to come.
  assert tiny_run.train(workdir) == 0


def test_a_run_compiles_one_program_of_each_kind():
  speed = json.loads((tiny_run.finished() / "speed.json").read_text())
  assert speed["programs"] == {"base_step": 1, "train_step": 1}
  assert speed["late_programs"] == 0
  assert speed["iterations"] == tiny_run.STEPS - 1
  assert 0 <= speed["waiting_share"] <= 1
  assert speed["images_per_s"] > 0
