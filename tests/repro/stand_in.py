"""A study of two arms on a run of seconds, and jobs that only pretend."""

from __future__ import annotations

import importlib.util
import sys

import tiny_run

from metabin_jax.repro import jobs, runner
from metabin_jax.repro.types import Arm, Entry, Job, Study

# A job of some milliseconds: takes the lock, waits as its arm says, writes
# what the runner reads. "sleep" waits for SIGTERM and ends as a training does.
PRETENDER = """
import fcntl, json, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
lock = (folder / "lock").open("a")
try:
  fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
  sys.exit(75)
task = json.loads((folder / "job.json").read_text())
job = task["job"]
print("log of", job["arm"], flush=True)
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
result = task | {"final": final, "best_on_target": final, "own_targets": ["x"]}
(folder / "result.json").write_text(json.dumps(result))
"""


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


def overrides(arm, setting, scale):
  changes = {**arm.changes, **(arm.quick if scale == "quick" else arm.full)}
  if setting == "single-a":
    changes["loss.margin"] = 0.2
  return changes


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
    lambda folder: [sys.executable, "-c", PRETENDER, str(folder.path)],
  )
