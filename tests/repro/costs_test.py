"""Costs are summed over processes, and say when one was killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest
import tiny_run

from metabin_jax.repro import costs as costs_lib


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch):
  """Seconds that pass only when told: wall and processor."""
  now = {"wall": 100.0, "processor": 10.0}
  monkeypatch.setattr(time, "perf_counter", lambda: now["wall"])
  monkeypatch.setattr(time, "process_time", lambda: now["processor"])
  return now


def test_phases_add_up_over_sessions(tmp_path, clock):
  file = tmp_path / "costs.json"
  first = costs_lib.Costs(file)
  assert first.earlier_sessions == 0
  with first.phase("train"):
    clock["wall"] += 4
    clock["processor"] += 7
  second = costs_lib.Costs(file)
  assert second.earlier_sessions == 1
  for _ in range(2):
    with second.phase("train"):
      clock["wall"] += 0.5
  clock["wall"] += 50  # between phases
  with contextlib.suppress(ZeroDivisionError), second.phase("score"):
    clock["processor"] += 2
    raise ZeroDivisionError
  total = second.total()
  assert total["train_wall_seconds"] == 5
  assert total["train_processor_seconds"] == 7
  assert total["score_wall_seconds"] == 0
  assert total["score_processor_seconds"] == 2
  assert total["sessions"] == 2
  assert total["complete"]
  assert len(total["commits"]) == 1


def test_a_session_that_was_killed_in_a_phase_is_not_complete(tmp_path):
  file = tmp_path / "costs.json"
  killed = costs_lib.Costs(file)
  generator = killed.phase("train")
  generator.__enter__()
  after = costs_lib.Costs(file)
  with after.phase("train"):
    pass
  assert not after.total()["complete"]


def test_a_session_that_was_killed_before_its_work_is_complete(tmp_path):
  costs_lib.Costs(tmp_path / "costs.json")
  assert costs_lib.Costs(tmp_path / "costs.json").total()["complete"]


def test_the_peak_is_that_of_the_worst_session(tmp_path, monkeypatch):
  file = tmp_path / "costs.json"
  for peak in (3, 9, 4):
    monkeypatch.setattr(costs_lib, "peak_resident_bytes", lambda p=peak: p)
    monkeypatch.setattr(costs_lib, "peak_device_bytes", lambda: None)
    costs = costs_lib.Costs(file)
    with costs.phase("score"):
      pass
  assert costs.total()["peak_resident_bytes"] == 9
  assert costs.total()["peak_device_bytes"] is None


def test_the_peak_of_a_process_does_not_count_its_parent():
  megabyte = 2**20
  ballast = bytearray(b"x") * (400 * megabyte)
  code = (
    "from metabin_jax.repro import costs\n"
    "one = costs.peak_resident_bytes()\n"
    "data = bytearray(b'x') * (100 * 2**20)\n"
    "del data\n"
    "print(one, costs.peak_resident_bytes())\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    check=True,
    cwd=tiny_run.REPOSITORY,
  )
  before, after = map(int, done.stdout.split())
  assert before < len(ballast)
  assert after - before > 80 * megabyte


def git(folder, *words):
  name = ("-c", "user.name=x", "-c", "user.email=x@y")
  subprocess.run(
    ["git", "-C", str(folder), *name, *words], check=True, capture_output=True
  )


def test_the_commit_says_whether_the_package_was_changed(tmp_path, monkeypatch):
  package = tmp_path / "metabin_jax"
  package.mkdir()
  (package / "__init__.py").write_text("")
  place = str(package / "__init__.py")
  monkeypatch.setattr(costs_lib.metabin_jax, "__file__", place)
  assert costs_lib.commit() == {"revision": None, "changed": None}
  git(tmp_path, "init")
  git(tmp_path, "add", ".")
  git(tmp_path, "commit", "-m", "x")
  found = costs_lib.commit()
  assert len(found["revision"]) == 40
  assert found["changed"] is False
  (tmp_path / "notes.txt").write_text("not of the package")
  assert costs_lib.commit()["changed"] is False
  (package / "new.py").write_text("")
  assert costs_lib.commit()["changed"] is True
