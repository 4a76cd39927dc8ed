"""Ctrl-C ends commands, whoever swallows it."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time

import pytest

from metabin_jax.cli import evaluate as command
from metabin_jax.cli import interrupts
from metabin_jax.cli.main import main
from metabin_jax.runtime.stopping import StopRequest


@pytest.fixture(autouse=True)
def _own_handler():
  # A test run in the background of a shell has SIGINT ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def press():
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(0)  # the handler runs between two instructions


def work(seconds=20.0):
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    time.sleep(0.01)
  return 0


def ends(monkeypatch, run):
  """Status of a command that does this."""
  hook = sys.unraisablehook
  monkeypatch.setattr(command, "run", run)
  status = main(["evaluate"])
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
  assert sys.unraisablehook is hook
  return status


def test_dropped_by_the_garbage_collector(monkeypatch, capsys):
  def collect(phase, info):
    if phase == "start":
      gc.callbacks.remove(collect)
      press()

  def run(argv):
    gc.callbacks.append(collect)
    gc.collect()
    return work()

  started = time.monotonic()
  assert ends(monkeypatch, run) == 130
  assert time.monotonic() - started < 10
  assert capsys.readouterr().err == "metabin evaluate: interrupted\n"


def test_caught_by_a_library(monkeypatch, capsys):
  monkeypatch.setattr(interrupts, "_CAUGHT_S", 0.2)

  def run(argv):
    for _ in range(2):
      try:
        press()
        work()
      except BaseException:
        pass
    return work()

  assert ends(monkeypatch, run) == 130
  assert capsys.readouterr().err == "metabin evaluate: interrupted\n"


def test_turned_into_another_error(monkeypatch, capsys):
  def run(argv):
    try:
      press()
      work()
    except KeyboardInterrupt:
      raise ImportError("numpy.core failed to import") from None

  assert ends(monkeypatch, run) == 130


def test_nothing_comes_after_the_end(monkeypatch):
  monkeypatch.setattr(interrupts, "_CAUGHT_S", 0.1)

  def run(argv):
    press()
    return work()

  assert ends(monkeypatch, run) == 130
  work(0.3)


def test_training_keeps_its_own_handler(monkeypatch):
  def run(argv):
    with StopRequest() as stop:
      press()
      assert stop.signal_number == signal.SIGINT
    return 7

  assert ends(monkeypatch, run) == 7


def test_whoever_ignores_it_goes_on(monkeypatch):
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  monkeypatch.setattr(command, "run", lambda argv: press() or 3)
  assert main(["evaluate"]) == 3
  assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
