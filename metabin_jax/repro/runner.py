"""Works through jobs, each in a process of its own, and can be stopped."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple

from ml_collections import config_dict

import metabin_jax
from metabin_jax.repro import job_folder
from metabin_jax.repro.job_folder import JobFolder
from metabin_jax.repro.types import Job, Scoring
from metabin_jax.runtime import resolve

_POLL_SECONDS = 0.1
_ERROR_LINES = 12


class Task(NamedTuple):
  """A job, and all that it is asked for.

  Attributes:
    job: the training run.
    config: its configuration as of today, resolved.
    scorings: further ways to score the trained network, by name.
  """

  job: Job
  config: config_dict.FrozenConfigDict
  scorings: Mapping[str, Scoring] = MappingProxyType({})


class Outcome(NamedTuple):
  """How a pass over the jobs ended; each list holds folders.

  Attributes:
    finished: jobs with a result that holds.
    failed: jobs that have left error.txt, or died.
    stale: finished jobs whose configuration has changed since.
    held: jobs that another process works on, or that wait for another job.
    stopped_by: number of the signal that has ended the pass, or None.
  """

  finished: list[JobFolder]
  failed: list[JobFolder]
  stale: list[JobFolder]
  held: list[JobFolder]
  stopped_by: int | None

  @property
  def status(self) -> int:
    """Exit status: 0, 1 for a failed job, 128 and the signal's number."""
    if self.stopped_by is not None:
      return 128 + self.stopped_by
    return 1 if self.failed else 0


def run(
  tasks: Sequence[Task],
  out: pathlib.Path,
  *,
  say: Callable[[str], None],
  more_targets: Sequence[str] = (),
  processes: int = 1,
) -> Outcome:
  """Runs the jobs that have no result yet.

  Ctrl-C and SIGTERM are passed on: each job at work saves a checkpoint, and
  the same call continues it. A failed job does not keep others from running.

  Args:
    tasks: in the order to run them.
    out: folder of all output.
    say: gets one line about each job.
    more_targets: descriptions of data sets to score on beside the jobs' own.
    processes: how many jobs to run at a time.

  Returns:
    What has become of each job.

  Raises:
    UserError: if a job's folder is damaged.
  """
  outcome = Outcome([], [], [], [], None)
  for task in tasks:  # a damaged result is better said before hours of work
    job_folder.find(out, task.job).load_result()
  queue = _Queue(_waiting(tasks, out, more_targets, outcome, say))
  running: list[_Process] = []
  with _Signals() as signals:
    try:
      while True:
        while len(running) < processes and not signals.count:
          process = queue.take()
          if process is None:
            break
          process.start()
          running.append(process)
        if not running:
          break
        time.sleep(_POLL_SECONDS)
        for process in list(running):
          process.stop(signals.count)
          status = process.poll()
          if status is not None:
            running.remove(process)
            process.report(status, outcome, say)
    finally:
      for process in running:
        process.stop(1)
  if not signals.count:
    for process in queue.put_off:
      process.give_up(outcome, say)
  _report_failed(outcome, say)
  return outcome._replace(stopped_by=signals.number)


def share(tasks: Sequence[Task], part: tuple[int, int]) -> list[Task]:
  """Every N-th task from the I-th on, for part = (I, N)."""
  index, count = part
  return list(tasks[index::count])


class _Queue:
  """Jobs in their order, but for those whose start is not finished yet."""

  def __init__(self, waiting: Iterator[_Process]):
    self._waiting = waiting
    self.put_off: list[_Process] = []

  def take(self) -> _Process | None:
    """The next job that can run now, if any."""
    for process in self.put_off:
      if process.is_ready():
        self.put_off.remove(process)
        return process
    for process in self._waiting:
      if process.is_ready():
        return process
      self.put_off.append(process)
    return None


class _Process:
  """A job and the process that runs it."""

  def __init__(self, label: str, folder: JobFolder, start: JobFolder | None):
    self._label = label
    self._folder = folder
    self._first = start
    self._start = 0.0
    self._stops = 0
    self._process: subprocess.Popen[bytes] | None = None

  def is_ready(self) -> bool:
    """Whether the run that it starts from is there."""
    return self._first is None or self._first.load_result() is not None

  def give_up(self, outcome: Outcome, say: Callable[[str], None]) -> None:
    """Files the job as one that waits for another, and says so."""
    outcome.held.append(self._folder)
    say(
      f"{self._label}: not run, as it starts from "
      f"{self._first.path if self._first else ''}, which is not finished"
    )

  def start(self) -> None:
    """Starts the process, with its output at the end of log.txt."""
    self._start = time.monotonic()
    with self._folder.log.open("ab") as log:
      self._process = subprocess.Popen(
        _command(self._folder),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=_environment(),
        # Out of reach of the terminal's Ctrl-C: it comes from us, once.
        start_new_session=True,
      )

  def poll(self) -> int | None:
    """Exit status, or None while it runs."""
    return self._process.poll() if self._process else None

  def stop(self, times: int) -> None:
    """Has asked it to stop so many times: once to save, twice at once."""
    while self._process is not None and self._stops < times:
      self._stops += 1
      self._process.send_signal(signal.SIGTERM)

  def report(
    self, status: int, outcome: Outcome, say: Callable[[str], None]
  ) -> None:
    """Files the job under what became of it and says so."""
    minutes = (time.monotonic() - self._start) / 60
    result = self._folder.load_result() if status == 0 else None
    if result is not None:
      outcome.finished.append(self._folder)
      say(f"{self._label}: {minutes:.1f} min, {_describe(result)}")
    elif status == job_folder.HELD:
      outcome.held.append(self._folder)
      say(f"{self._label}: another process works on it, left alone")
    elif self._stops and status in (128 + signal.SIGTERM, -signal.SIGTERM):
      say(f"{self._label}: stopped, the same command continues")
    else:
      outcome.failed.append(self._folder)
      say(f"{self._label}: FAILED with status {status}")


def _command(folder: JobFolder) -> list[str]:
  module = "metabin_jax.repro.run_job"
  # -P: another copy of the package in the working directory is not ours.
  return [sys.executable, "-P", "-m", module, str(folder.path.absolute())]


def _environment() -> dict[str, str]:
  """That of this process; Python finds the package where this one did."""
  root = str(pathlib.Path(metabin_jax.__file__).parents[1])
  path = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
  return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


class _Signals:
  """While entered, counts SIGTERM and SIGINT in place of ending."""

  def __init__(self) -> None:
    self.count = 0
    self.number: int | None = None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> _Signals:
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *unused: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _handle(self, number: int, frame: FrameType | None) -> None:
    self.count += 1
    self.number = number


def _waiting(
  tasks: Sequence[Task],
  out: pathlib.Path,
  more_targets: Sequence[str],
  outcome: Outcome,
  say: Callable[[str], None],
) -> Iterator[_Process]:
  """The jobs to run; files those that need not or must not be run."""
  for index, (job, config, scorings) in enumerate(tasks):
    folder = job_folder.find(out, job)
    label = (
      f"[{index + 1} of {len(tasks)}] {job.arm} seed {job.seed} ({job.setting})"
    )
    result = folder.load_result()
    if result is not None:
      changed = job_folder.differences(result, config)
      if changed:
        outcome.stale.append(folder)
        say(
          f"{label}: STALE, not used: {'; '.join(changed[:4])}; delete "
          f"{folder.path} to run it anew"
        )
        continue
      if not job_folder.lacks(result, more_targets, scorings):
        outcome.finished.append(folder)
        say(f"{label}: finished before, {_describe(result)}")
        continue
    known = [] if result is None else result["more_targets"]
    specs = list(dict.fromkeys([*known, *more_targets]))
    scored = {} if result is None else result.get("scorings", {})
    ways = {name: way["changes"] for name, way in scored.items()}
    ways |= scorings
    with folder.hold() as held:
      if held:  # else its job.json is another process's
        folder.save_job(
          job, resolve.to_dict(config), specs, ways | dict(scorings)
        )
    start = job_folder.find(out, job.start) if job.start else None
    yield _Process(label, folder, start)


def _describe(result: Mapping[str, Any]) -> str:
  rank_1 = result["final"]["average"].get("rank-1")
  if rank_1 is None:
    return "no average rank-1"
  return f"average rank-1 {100 * rank_1:.1f} %"


def _report_failed(outcome: Outcome, say: Callable[[str], None]) -> None:
  for folder in outcome.failed:
    # A process that was killed leaves no reason, but a log.
    file = folder.error if folder.error.exists() else folder.log
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    say(f"failed: {folder.path}")
    for line in lines[-_ERROR_LINES:]:
      say(f"  {line}")
  if outcome.failed:
    say(
      "the same command tries the failed jobs again; delete the folder of one "
      "to start it from the beginning."
    )
