"""A study of two arms on a run of seconds, and jobs that only pretend."""

from __future__ import annotations

import importlib.util
import json
import sys

import tiny_run

from metabin_jax.repro import jobs, runner
from metabin_jax.repro.types import Arm, Entry, Job, Study

# A job of some milliseconds: takes the lock, waits as its arm says, writes
# what the runner reads. "sleep" waits for SIGTERM and ends as a training does.
PRETENDER = """
import fcntl, json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
lock = (folder / "lock").open("a")
try:
  fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
  sys.exit(75)
task = json.loads((folder / "job.json").read_text())
job = task["job"]
print("log of", job["arm"], flush=True)
(folder / "leads").write_text(str(os.getpgrp() == os.getpid()))
with (folder / "starts").open("a") as file:
  file.write("x")
if (folder.parents[3] / "fail").exists() and job["arm"] == "rho":
  (folder / "error.txt").write_text("the loss is nan\\n")
  sys.exit(1)
if (folder.parents[3] / "sleep").exists():
  signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))
  (folder / "asleep").touch()
  time.sleep(60)
  sys.exit(3)
shares = {"rank-1": job["seed"] % 100 / 100, "mAP": 0.5}
final = {"step": 6, "average": shares, "scores": {"x": shares}}
result = task | {"final": final, "best_on_target": final}
result["scorings"] = {
  name: {"changes": changes, "evaluation": "otherwise", **final}
  for name, changes in task["scorings"].items()
}
result |= json.loads(sys.argv[2])
(folder / "result.json").write_text(json.dumps(result))
"""
# What a result says beside its scores.
FACTS = {
  "own_targets": ["x"],
  "targets": {
    "x": {"protocol": "own", "folds": 1, "sha256": "f" * 64, "notes": []}
  },
  "sources": [{"name": "s", "images": 7, "notes": ["a note"]}],
  "data_sha256": "d" * 64,
  "evaluation": "cosine",
  "device": "cpu",
  "host_cores": 2,
  "versions": {"jax": "1.0"},
  "parameters": 1234567,
  "balance_parameters": 89,
  "date": "2026-11-21T10:00:00+00:00",
  "cost": {
    "train_wall_seconds": 60.0,
    "train_processor_seconds": 120.0,
    "score_wall_seconds": 30.0,
    "score_processor_seconds": 6.0,
    "peak_resident_bytes": 5_000_000,
    "peak_device_bytes": None,
    "sessions": 1,
    "complete": True,
    "commits": [{"revision": "a" * 40, "changed": False}],
  },
}


def base(scale: str, setting: str):
  """The configuration of `tiny_run`; ready to train."""
  path = tiny_run.root() / "config.py"
  spec = importlib.util.spec_from_file_location("tiny_config", path)
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config()
  config.train.keep_checkpoints = 2
  if setting == "single-a":
    config.meta.num_mtrain = 1
  return config


def overrides(arm, setting, scale, changed):
  changes = {**arm.changes, **(arm.quick if scale == "quick" else arm.full)}
  if setting == "single-a":
    changes["loss.margin"] = 0.2
  return {**changes, **changed}


ARMS = {
  arm.name: arm
  for arm in (
    Arm("rho", "MetaBIN", {}),
    Arm("bn", "BN", {"method": "joint", "model.norm": "bn"}),
    Arm(
      "rates",
      "two rates",
      {"loss.base": ("ce", "triplet")},
      quick={"optim.lr": 0.02},
      full={"optim.lr": 0.05},
    ),
  )
}
STUDY = Study(
  "pair",
  "Two arms",
  "Which is better?",
  (
    Entry("BN baseline", "bn", published={"dg": {"average": {"rank-1": 50.0}}}),
    Entry("MetaBIN", "rho", source="the paper"),
    Entry("quoted", None, published={"dg": {"viper": {"rank-1": 40.0}}}),
  ),
  metrics=("rank-1", "mAP"),
)
CATALOGUE = jobs.Catalogue({"pair": STUDY}, ARMS, base, overrides)


def make_tasks(
  seeds=(2020,), catalogue: jobs.Catalogue = CATALOGUE, **changes
) -> list[runner.Task]:
  """The tasks of the study."""
  choice = jobs.Choice("quick", seeds, None, changes)
  listed = jobs.list_jobs([STUDY], choice, catalogue)
  return [
    runner.Task(job, jobs.make_config(job, base(job.scale, job.setting)))
    for job in listed
  ]


def job(arm="rho", seed=2020, setting="dg", **changes) -> Job:
  return Job("quick", setting, arm, seed, changes)


def pretend(monkeypatch) -> None:
  """Lets the runner start `PRETENDER` in place of trainings."""
  monkeypatch.setattr(
    runner,
    "_command",
    lambda folder: [
      sys.executable,
      "-c",
      PRETENDER,
      str(folder.path),
      json.dumps(FACTS),
    ],
  )
