"""Programs, images and waiting of a session."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import pytest

from metabin_jax.runtime import pace
from metabin_jax.runtime.parallel import RUNNERS, Runner


class Clock:
  """Seconds that go on when told."""

  def __init__(self):
    self.now = 0.0
    self.read_by_watcher = threading.Event()

  def __call__(self):
    if threading.current_thread() is not threading.main_thread():
      self.read_by_watcher.set()
    return self.now


class Work:
  """What a step computes, done when told."""

  def __init__(self):
    self.done = threading.Event()

  def block_until_ready(self):
    assert self.done.wait(30)
    return self


def test_devices_wait_from_the_end_of_their_work():
  clock = Clock()
  measured = pace.Pace((), clock)
  works = [Work() for _ in range(4)]

  def load():
    clock.now = 50.0  # nothing was done before
    yield 0
    clock.now = 70.0  # iteration 0 was done at 60
    yield 1
    clock.now = 75.0  # iteration 1 is under way: nobody waits
    yield 2
    clock.read_by_watcher.clear()
    clock.now = 80.0
    works[1].done.set()
    assert clock.read_by_watcher.wait(30)
    clock.now = 90.0
    works[2].done.set()
    measured.report()  # waits for the newest
    clock.now = 92.0  # asked for at 76, wanted from 90 on
    yield 3

  for number in measured.fetch(load()):
    if number == 0:
      clock.now = 60.0
      works[0].done.set()  # the call below waits for it
    measured.dispatched(16, works[number])
    clock.now += 1
  clock.now = 100.0
  works[3].done.set()
  report = measured.report()
  assert report["iterations"] == 3
  assert report["seconds"] == 100 - 60
  assert report["images_per_s"] == pytest.approx(48 / 40)
  # 61 to 70: the loop asked at 61; and 90 to 92.
  assert report["waiting_share"] == pytest.approx((9 + 2) / 40)


def test_nothing_is_said_of_no_iterations():
  measured = pace.Pace(())
  assert list(measured.fetch(())) == []
  report = measured.report()
  assert report["images_per_s"] is None
  assert pace.describe(report) == (
    "0 programs compiled or loaded in 0.0 s, none after the first iteration"
  )


@pytest.mark.parametrize("kind", RUNNERS)
def test_another_shape_is_a_late_program(kind):
  runner = Runner(kind, jax.devices()[:2])

  def add(state, rows):
    return state + rows.sum(), {"sum": rows.sum()}

  step = runner.compile(add, f"counted_{kind}")
  with pace.Pace([f"counted_{kind}"]) as measured:
    state = runner.place(jnp.zeros(()))
    for rows in (4, 4, 6):
      state, _ = step(state, runner.split(jnp.ones(rows)))
      measured.dispatched(rows, state)
  report = measured.report()
  name = "pmap" if kind == "pmap" else f"counted_{kind}"
  assert report["programs"] == {name: 2}
  assert report["late_programs"] == 1
  assert report["compile_s"] > 0
  assert "2 programs compiled or loaded" in pace.describe(report)
  assert "1 after the first iteration" in pace.describe(report)


def test_what_is_compiled_afterwards_or_by_others_does_not_count():
  with pace.Pace(["mine"]) as measured:
    jax.jit(lambda x: x + 3.25)(jnp.ones(3))

  @jax.jit
  def mine(x):
    return x + 4.25

  mine(jnp.ones(3))
  assert measured.report()["programs"] == {}
