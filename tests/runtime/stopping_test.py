"""Signals that ask for a stop."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from metabin_jax.runtime.stopping import StopRequest


@pytest.fixture(autouse=True, name="reached")
def reached_fixture():
  """What gets past a request; the handlers are put back afterwards."""
  reached = []
  numbers = (signal.SIGTERM, signal.SIGINT)
  before = [signal.signal(n, lambda n, _: reached.append(n)) for n in numbers]
  yield reached
  for number, handler in zip(numbers, before, strict=True):
    signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_the_second_acts(reached, number):
  with StopRequest() as stop:
    assert stop.signal_number is None
    os.kill(os.getpid(), number)
    assert stop.signal_number == number
    assert reached == []
    os.kill(os.getpid(), number)
    assert reached == [number]


def test_former_handlers_return(reached):
  with StopRequest() as stop:
    pass
  os.kill(os.getpid(), signal.SIGTERM)
  assert stop.signal_number is None
  assert reached == [signal.SIGTERM]


def test_other_threads_do_without(reached):
  problems = []

  def work():
    try:
      with StopRequest() as stop:
        assert stop.signal_number is None
    except BaseException as error:
      problems.append(error)

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert problems == []
