"""The runner: skips, locks, failures, signals, parts. Jobs only pretend."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import tiny_run
import tiny_study

import metabin_jax
from metabin_jax.repro import job_folder, runner
from metabin_jax.runtime import resolve


@pytest.fixture(name="said")
def said_fixture(monkeypatch):
  tiny_study.pretend(monkeypatch)
  return []


def run(tasks, out, said, **words):
  said.clear()
  return runner.run(tasks, out, say=said.append, **words)


def folders(tasks, out):
  return [job_folder.find(out, task.job) for task in tasks]


def starts(folder) -> int:
  file = folder.path / "starts"
  return len(file.read_text()) if file.exists() else 0


def paths(listed):
  return [folder.path for folder in listed]


def with_start(seeds=(2020,)):
  """The tasks of the study, each rho run behind a bn run that it needs."""
  tasks = tiny_study.make_tasks(seeds)
  starts = {t.job.seed: t.job for t in tasks if t.job.arm == "bn"}
  return [
    task._replace(
      job=dataclasses.replace(task.job, start=starts[task.job.seed])
    )
    if task.job.arm == "rho"
    else task
    for task in tasks
  ]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("order", [1, -1])
def test_a_run_waits_for_the_one_that_it_starts_from(
  tmp_path, said, processes, order
):
  tasks = with_start((2020, 2021))[::order]
  outcome = run(tasks, tmp_path, said, processes=processes)
  assert outcome.status == 0
  assert len(outcome.finished) == 4
  done = [line.split("] ")[1].split(" (")[0] for line in said]
  for seed in (2020, 2021):
    assert done.index(f"bn seed {seed}") < done.index(f"rho seed {seed}")


def test_a_run_whose_start_is_missing_is_left(tmp_path, said):
  tasks = [task for task in with_start() if task.job.arm == "rho"]
  outcome = run(tasks, tmp_path, said)
  assert paths(outcome.held) == paths(folders(tasks, tmp_path))
  assert "not run, as it starts from" in said[-1]
  assert starts(folders(tasks, tmp_path)[0]) == 0


def test_runs_all_then_nothing(tmp_path, said):
  tasks = tiny_study.make_tasks((2020, 2021))
  outcome = run(tasks, tmp_path, said)
  assert outcome.status == 0
  assert paths(outcome.finished) == paths(folders(tasks, tmp_path))
  assert len(outcome.finished) == 4
  assert said[2].startswith("[3 of 4] bn seed 2021 (dg): ")
  assert said[2].endswith(" min, average rank-1 21.0 %")
  rho = folders(tasks, tmp_path)[1]
  assert rho.log.read_text() == "log of rho\n"
  again = run(tasks, tmp_path, said)
  assert paths(again.finished) == paths(outcome.finished)
  assert [starts(f) for f in folders(tasks, tmp_path)] == [1, 1, 1, 1]
  assert "finished before, average rank-1 20.0 %" in said[0]


def test_a_failed_job_is_told_at_the_end_and_only_it_is_tried_again(
  tmp_path, said
):
  tasks = tiny_study.make_tasks((2020, 2021))
  (tmp_path / "fail").touch()
  outcome = run(tasks, tmp_path, said)
  assert outcome.status == 1
  bn, rho, bn2, rho2 = folders(tasks, tmp_path)
  assert paths(outcome.finished) == [bn.path, bn2.path]
  assert paths(outcome.failed) == [rho.path, rho2.path]
  assert "FAILED with status 1" in said[1]
  assert said[4:6] == [f"failed: {rho.path}", "  the loss is nan"]
  (tmp_path / "fail").unlink()
  assert run(tasks, tmp_path, said).status == 0
  assert [starts(f) for f in (bn, rho, bn2, rho2)] == [1, 2, 1, 2]
  assert rho.log.read_text() == "log of rho\nlog of rho\n"


def test_a_job_that_fails_later_on_more_targets_has_failed(tmp_path, said):
  tasks = tiny_study.make_tasks()
  run(tasks, tmp_path, said)
  (tmp_path / "fail").touch()
  outcome = run(tasks, tmp_path, said, more_targets=("a:b",))
  assert outcome.status == 1
  assert paths(outcome.failed) == [folders(tasks, tmp_path)[1].path]


def test_ctrl_c_of_a_terminal_does_not_reach_jobs_twice(tmp_path, said):
  """It goes to the whole group of the runner: jobs lead groups of their own."""
  tasks = tiny_study.make_tasks()[:1]
  run(tasks, tmp_path, said)
  assert (folders(tasks, tmp_path)[0].path / "leads").read_text() == "True"


def test_a_job_that_dies_without_a_word_shows_its_log(
  tmp_path, said, monkeypatch
):
  code = "import os; print('last words', flush=True); os.kill(os.getpid(), 9)"
  monkeypatch.setattr(
    runner, "_command", lambda f: [sys.executable, "-c", code]
  )
  outcome = run(tiny_study.make_tasks()[:1], tmp_path, said)
  assert outcome.status == 1
  assert "FAILED with status -9" in said[0]
  assert "  last words" in said


def test_stale_results_are_neither_used_nor_replaced(tmp_path, said):
  tasks = tiny_study.make_tasks()
  run(tasks, tmp_path, said)
  changed = []
  for job, config, _ in tasks:
    data = resolve.to_dict(config)
    data["optim"]["momentum"] = 0.8
    data["data"]["workers"] = 7  # changes no number
    now = resolve.resolve(resolve.from_dict(data))
    changed.append(runner.Task(job, now))
  before = [f.load_result() for f in folders(tasks, tmp_path)]
  outcome = run(changed, tmp_path, said)
  assert outcome.status == 0
  assert len(outcome.stale) == 2
  assert not outcome.finished
  assert "STALE, not used: optim.momentum was 0.9, is 0.8; delete" in said[0]
  assert [f.load_result() for f in folders(tasks, tmp_path)] == before
  assert [starts(f) for f in folders(tasks, tmp_path)] == [1, 1]


def test_a_held_job_is_left_alone(tmp_path, said):
  tasks = tiny_study.make_tasks()
  first, second = folders(tasks, tmp_path)
  first.save_job(tasks[0].job, resolve.to_dict(tasks[0].config), ["its own"])
  with first.hold() as held:
    assert held
    outcome = run(tasks, tmp_path, said)
  assert first.load_job()["more_targets"] == ["its own"]
  assert outcome.status == 0
  assert paths(outcome.held) == [first.path]
  assert paths(outcome.finished) == [second.path]
  assert "another process works on it" in said[0]
  assert starts(first) == 0
  assert len(run(tasks, tmp_path, said).finished) == 2


def test_a_killed_holder_leaves_no_lock(tmp_path):
  folder = job_folder.find(tmp_path, tiny_study.job())
  code = (
    "import pathlib, sys, time\n"
    "from metabin_jax.repro.job_folder import JobFolder\n"
    "with JobFolder(pathlib.Path(sys.argv[1])).hold():\n"
    "  print('held', flush=True)\n"
    "  time.sleep(60)\n"
  )
  with subprocess.Popen(
    [sys.executable, "-c", code, str(folder.path)],
    stdout=subprocess.PIPE,
    cwd=tiny_run.REPOSITORY,
  ) as holder:
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with folder.hold() as held:
      assert not held
    holder.kill()
    holder.wait()
  with folder.hold() as held:
    assert held


def interrupt(tmp_path, tasks, said, number, times=1, processes=1):
  """Sends this process signals while jobs sleep."""
  (tmp_path / "sleep").touch()
  expected = folders(tasks, tmp_path)[:processes]

  def send():
    while not all((f.path / "asleep").exists() for f in expected):
      time.sleep(0.01)
    for _ in range(times):
      os.kill(os.getpid(), number)

  sender = threading.Thread(target=send)
  sender.start()
  try:
    return run(tasks, tmp_path, said, processes=processes)
  finally:
    sender.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_same_call_continues(
  tmp_path, said, number
):
  tasks = tiny_study.make_tasks()
  before = signal.getsignal(number)
  outcome = interrupt(tmp_path, tasks, said, number)
  assert outcome.status == 128 + number
  assert signal.getsignal(number) is before
  assert len(said) == 1
  assert said[0].endswith("stopped, the same command continues")
  assert not outcome.failed
  assert [starts(f) for f in folders(tasks, tmp_path)] == [1, 0]
  (tmp_path / "sleep").unlink()
  assert run(tasks, tmp_path, said).status == 0
  assert [starts(f) for f in folders(tasks, tmp_path)] == [2, 1]


def test_several_at_a_time_are_all_stopped(tmp_path, said):
  tasks = tiny_study.make_tasks((1, 2))
  outcome = interrupt(tmp_path, tasks, said, signal.SIGTERM, processes=3)
  assert outcome.status == 143
  assert [starts(f) for f in folders(tasks, tmp_path)] == [1, 1, 1, 0]
  assert len(said) == 3


def test_two_parts_at_once_share_the_work(tmp_path, said):
  tasks = tiny_study.make_tasks((1, 2, 3))
  parts = [runner.share(tasks, (index, 2)) for index in (0, 1)]
  threads = [
    threading.Thread(
      target=runner.run, args=(part, tmp_path), kwargs={"say": said.append}
    )
    for part in parts
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not {task.job.name for task in parts[0]} & {
    task.job.name for task in parts[1]
  }
  assert [starts(f) for f in folders(tasks, tmp_path)] == [1] * 6
  assert len(run(tasks, tmp_path, said).finished) == 6


def test_more_targets_run_a_finished_job_once_more(tmp_path, said):
  tasks = tiny_study.make_tasks()
  run(tasks, tmp_path, said)
  assert run(tasks, tmp_path, said, more_targets=("a:b",)).status == 0
  assert [starts(f) for f in folders(tasks, tmp_path)] == [2, 2]
  # What was added once stays, and is not asked for again.
  run(tasks, tmp_path, said, more_targets=("a:b",))
  run(tasks, tmp_path, said)
  assert [starts(f) for f in folders(tasks, tmp_path)] == [2, 2]
  run(tasks, tmp_path, said, more_targets=("c:d",))
  found = folders(tasks, tmp_path)[0].load_result()
  assert found["more_targets"] == ["a:b", "c:d"]


def test_further_ways_to_score_run_a_finished_job_once_more(tmp_path, said):
  plain = tiny_study.make_tasks()
  run(plain, tmp_path, said)
  for name, count in (("a", 2), ("a", 2), ("b", 3)):
    changes = {name: {"flip": True}}
    asked = [task._replace(scorings=changes) for task in plain]
    assert run(asked, tmp_path, said).status == 0
    assert [starts(f) for f in folders(plain, tmp_path)] == [count] * 2
  # What was added once stays, whoever asks for it.
  run(plain, tmp_path, said)
  assert [starts(f) for f in folders(plain, tmp_path)] == [3, 3]
  for folder in folders(plain, tmp_path):
    assert folder.load_result()["scorings"].keys() == {"a", "b"}


def test_a_damaged_result_is_said_before_anything_runs(tmp_path, said):
  tasks = tiny_study.make_tasks()
  last = folders(tasks, tmp_path)[1]
  last.path.mkdir(parents=True)
  (last.path / "result.json").write_text('{"final": ')
  with pytest.raises(ValueError, match=r"is damaged.*delete"):
    run(tasks, tmp_path, said)
  assert starts(folders(tasks, tmp_path)[0]) == 0


def test_the_command_is_a_process_of_its_own():
  folder = job_folder.JobFolder(pathlib.Path("x"))
  assert runner._command(folder) == [
    sys.executable,
    "-P",
    "-m",
    "metabin_jax.repro.run_job",
    str(pathlib.Path("x").absolute()),
  ]


def test_a_job_uses_the_package_of_its_runner(tmp_path, monkeypatch):
  # Another copy, where a user may well stand.
  (tmp_path / "metabin_jax").mkdir()
  (tmp_path / "metabin_jax" / "__init__.py").write_text("raise RuntimeError")
  monkeypatch.chdir(tmp_path)
  code = "import metabin_jax; print(metabin_jax.__file__)"
  found = subprocess.run(
    [*runner._command(job_folder.JobFolder(tmp_path))[:2], "-c", code],
    env=runner._environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert found.stdout.strip() == metabin_jax.__file__
