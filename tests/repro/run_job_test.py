"""One job in this process: what it writes, stopped or not."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import types

import numpy as np
import pytest
import tiny_run
import tiny_study

from metabin_jax.errors import UserError
from metabin_jax.repro import job_folder, jobs, run_job
from metabin_jax.runtime import loop, resolve, scoring
from metabin_jax.runtime.finite import NonFiniteError


def make_folder(out, more_targets=(), scorings=None, **changes):
  changes = {"method": "joint", "model.norm": "bn"} | changes
  job = tiny_study.job("bn", **changes)
  config = jobs.make_config(job, tiny_study.base("quick", "dg"))
  folder = job_folder.find(out, job)
  folder.save_job(job, resolve.to_dict(config), more_targets, scorings or {})
  return folder


def run(folder) -> int:
  return run_job.main([str(folder.path)])


def scores(result):
  """What must not depend on interruptions."""
  keys = ("final", "best_on_target", "snapshots", "parameters", "targets")
  return {key: result[key] for key in (*keys, "iterations", "data_sha256")}


@pytest.fixture(name="finished", scope="module")
def finished_fixture(tmp_path_factory):
  folder = make_folder(tmp_path_factory.mktemp("finished"))
  assert run(folder) == 0
  return folder


def test_the_result_says_what_was_run_and_how(finished):
  result = finished.load_result()
  task = finished.load_job()
  assert {key: result[key] for key in task} == task
  assert task["scorings"] == {}
  assert [s["step"] for s in result["snapshots"]] == [4, 6]
  assert result["final"] == result["snapshots"][-1]
  assert result["iterations"] == 6
  assert result["own_targets"] == ["test"]
  assert len(result["targets"]["test"]["sha256"]) == 64
  assert result["sources"][0]["images"] == 36
  assert result["evaluation"].startswith("cosine")
  assert result["device"] == "cpu"
  assert result["versions"]["jax"]
  assert result["date"].endswith("+00:00")
  cost = result["cost"]
  assert cost["train_wall_seconds"] > 0
  assert cost["score_processor_seconds"] > 0
  assert cost["peak_resident_bytes"] > 1e8
  assert cost["sessions"] == 1
  assert cost["complete"]
  assert result["balance_parameters"] == 0
  leaves = tiny_run.leaves(finished.run)
  params = sum(v.size for k, v in leaves.items() if k.startswith("params/"))
  assert result["parameters"] == params
  assert not finished.error.exists()


def test_the_snapshots_score_their_own_weights(finished):
  result = finished.load_result()
  for snapshot in result["snapshots"]:
    loaded = scoring.load_run(finished.run, snapshot["step"])
    target = run_job.readers.open_dataset(loaded.config.data.targets[0])
    expected = scoring.score(
      loaded.config, loaded.network, loaded.variables, [target]
    )
    assert snapshot["scores"]["test"] == expected["test"]
    assert snapshot["average"]["mAP"] == expected["test"]["mAP"]


def test_a_finished_job_is_not_run_again(finished):
  before = finished.load_result()
  assert run(finished) == 0
  assert finished.load_result() == before


def test_stopped_and_continued_ends_with_the_same_numbers(
  tmp_path, finished, monkeypatch
):
  folder = make_folder(tmp_path)
  see = loop._Watch.see

  def see_and_signal(watch, step, *rest):
    if step in (3, 4):
      os.kill(os.getpid(), signal.SIGTERM)
    see(watch, step, *rest)

  monkeypatch.setattr(loop._Watch, "see", see_and_signal)
  for _ in range(2):
    assert run(folder) == 128 + signal.SIGTERM
    assert folder.load_result() is None
  # The one out of turn, 5, must neither push out 4 nor be scored, and what is
  # kept in addition not be scored either.
  assert tiny_run.steps(folder.run) == (2, 4, 5)
  assert run(folder) == 0
  result = folder.load_result()
  assert scores(result) == scores(finished.load_result())
  assert result["cost"]["sessions"] == 3
  assert result["config"]["train"]["keep_checkpoints"] == 2


def test_more_targets_are_scored_later_beside_the_average(tmp_path, finished):
  spec = tiny_run.write_manifest(
    tmp_path / "more.csv", tiny_run.target_rows("y", persons=4)
  )
  before = finished.load_result()
  folder = make_folder(tmp_path)
  shutil.copytree(finished.path, folder.path, dirs_exist_ok=True)
  make_folder(tmp_path, more_targets=(spec,))
  assert run(folder) == 0
  after = folder.load_result()
  assert after["own_targets"] == ["test"]
  assert set(after["final"]["scores"]) == {"test", "more"}
  assert after["final"]["average"] == before["final"]["average"]
  assert after["more_targets"] == [spec]
  assert after["cost"]["sessions"] == 2


def test_other_ways_to_score_come_later_and_leave_the_rest(
  tmp_path, finished, monkeypatch
):
  folder = make_folder(tmp_path)
  shutil.copytree(finished.path, folder.path, dirs_exist_ok=True)
  make_folder(tmp_path, scorings={"way": {"adapt_bn": "gallery"}})
  score, configs = scoring.score, []

  def count(config, *rest, **options):
    configs.append(config.eval.adapt_bn)
    return score(config, *rest, **options)

  monkeypatch.setattr(run_job.scoring, "score", count)
  assert run(folder) == 0
  assert configs == ["gallery"]
  before, after = finished.load_result(), folder.load_result()
  assert scores(after) == scores(before)
  way = after["scorings"]["way"]
  assert way["changes"] == {"adapt_bn": "gallery"}
  assert "batch norm adapted to the gallery" in way["evaluation"]
  assert way["step"] == 6
  assert way["average"]["mAP"] == way["scores"]["test"]["mAP"]
  loaded = scoring.load_run(finished.run)
  target = run_job.readers.open_dataset(loaded.config.data.targets[0])
  config = scoring.override_eval(loaded.config, way["changes"])
  want = score(config, loaded.network, loaded.variables, [target])
  assert way["scores"] == want
  # Asked for no more, it stays known; a second is added beside it.
  both = {"way": way["changes"], "more": {"flip": True}}
  make_folder(tmp_path, scorings=both)
  assert run(folder) == 0
  assert configs == ["gallery", "none"]
  assert folder.load_result()["scorings"]["way"] == way


@pytest.mark.parametrize(
  ("error", "status"),
  [
    (NonFiniteError("iteration 3: loss = nan."), 1),
    (UserError("the disk is full of cats."), 2),
    (FileNotFoundError("gone"), 1),
  ],
)
def test_a_failure_leaves_its_reason(
  tmp_path, monkeypatch, capsys, error, status
):
  def fail(*unused, **words):
    raise error

  monkeypatch.setattr(run_job.loop, "train", fail)
  folder = make_folder(tmp_path)
  assert run(folder) == status
  assert folder.error.read_text() == f"{error}\n"
  assert f"error: {error}" in capsys.readouterr().err
  assert folder.load_result() is None


def test_a_crash_leaves_its_traceback(tmp_path, monkeypatch):
  def crash(*unused, **words):
    raise ZeroDivisionError

  monkeypatch.setattr(run_job.loop, "train", crash)
  folder = make_folder(tmp_path)
  with pytest.raises(ZeroDivisionError):
    run(folder)
  assert "Traceback" in folder.error.read_text()
  assert "ZeroDivisionError" in folder.error.read_text()


def test_a_good_run_removes_an_old_reason(finished):
  finished.error.write_text("once upon a time")
  assert run(finished) == 0
  assert not finished.error.exists()


def test_a_held_job_is_left_alone(tmp_path):
  folder = make_folder(tmp_path)
  with folder.hold():
    assert run(folder) == job_folder.HELD
  assert not folder.run.exists()
  assert not folder.error.exists()


def test_the_best_snapshot_is_the_later_one_of_equals():
  def snapshot(step, rank_1):
    return {"step": step, "average": {"rank-1": rank_1}}

  snapshots = [snapshot(2, 0.4), snapshot(4, 0.6), snapshot(6, 0.6)]
  assert run_job._best([*snapshots, snapshot(8, 0.5)])["step"] == 6
  assert run_job._best(snapshots[:2])["step"] == 4


def test_the_average_is_over_the_own_targets_and_shares_alone():
  tables = {
    "a": {"rank-1": 0.2, "mAP": 0.1, "mAP/std": 0.1, "num_query": 4, "x": None},
    "b": {"rank-1": 0.4, "mAP": 0.5, "mAP/std": 0.3, "num_query": 8, "x": 0.3},
    "more": {"rank-1": 1.0, "mAP": 1.0, "num_query": 1, "x": 1.0},
  }
  means = run_job.average(tables, ["a", "b"])
  assert means.keys() == {"rank-1", "mAP"}
  np.testing.assert_allclose([means["rank-1"], means["mAP"]], [0.3, 0.3])


@pytest.mark.parametrize(
  ("changes", "total", "steps"),
  [
    ({"train.checkpoint_every_steps": 90, "train.steps": 0}, 360, 90),
    ({"train.checkpoint_every_steps": 0}, 6, 4),
    (
      {
        "train.checkpoint_every_steps": 0,
        "train.steps_per_epoch": 0,
        "train.steps": 0,
        "train.epochs": 2.5,
      },
      25,
      10,
    ),
    ({"train.checkpoint_every_steps": 0, "train.steps_per_epoch": 0}, 6, 6),
  ],
)
def test_regular_checkpoints_are_those_of_the_loop(changes, total, steps):
  job = tiny_study.job(**changes)
  config = jobs.make_config(job, tiny_study.base("quick", "dg"))
  assert run_job._checkpoint_steps(config, total) == steps


def test_what_was_not_trained_is_not_scored(monkeypatch):
  """A signal before the first iteration leaves a checkpoint of step 0."""

  class Store:
    def __init__(self, unused_path):
      pass

    def steps(self):
      return (0, 2, 3, 4, 6)

    def restore_raw(self, step):
      return types.SimpleNamespace(state={"params": step})

  monkeypatch.setattr(run_job.checkpoint, "CheckpointStore", Store)
  monkeypatch.setattr(run_job.scoring, "score", lambda *unused: {})
  state = types.SimpleNamespace(variables={"params": 6})
  outcome = types.SimpleNamespace(
    step=6, total_steps=6, state=state, network=None
  )
  job = tiny_study.job(**{"train.checkpoint_every_steps": 2})
  config = jobs.make_config(job, tiny_study.base("quick", "dg"))
  for keep, steps in ((9, [2, 4, 6]), (2, [4, 6])):
    data = resolve.to_dict(config)
    data["train"]["keep_checkpoints"] = keep
    kept = resolve.resolve(resolve.from_dict(data))
    found = run_job._score_snapshots(kept, pathlib.Path(), outcome, (), ())
    assert [snapshot["step"] for snapshot in found] == steps
