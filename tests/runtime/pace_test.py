"""Programs, images and waiting of a session."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import pytest
import tiny_run

from metabin_jax.runtime import pace
from metabin_jax.runtime.parallel import RUNNERS, Runner


class Clock:
  """Seconds that go on when told."""

  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


def test_waiting_and_speed_count_from_the_end_of_the_first_iteration():
  clock = Clock()

  def slow():
    for seconds in (50, 1, 2):
      clock.now += seconds
      yield seconds

  measured = pace.Pace((), clock)
  for _ in measured.fetch(slow()):
    clock.now += 9
    measured.done(16)
  report = measured.report()
  assert report["iterations"] == 2
  assert report["seconds"] == 21
  assert report["images_per_s"] == pytest.approx(32 / 21)
  assert report["waiting_share"] == pytest.approx(3 / 21)


def test_nothing_is_said_of_no_iterations():
  measured = pace.Pace(())
  assert list(measured.fetch(())) == []
  report = measured.report()
  assert report["images_per_s"] is None
  assert pace.describe(report) == (
    "0 programs compiled in 0.0 s, none after the first iteration"
  )


@pytest.mark.parametrize("kind", RUNNERS)
def test_another_shape_is_a_late_program(kind):
  runner = Runner(kind, jax.devices()[:2])

  def add(state, rows):
    return state + rows.sum(), {}

  step = runner.compile(add, f"counted_{kind}")
  with pace.Pace([f"counted_{kind}"]) as measured:
    state = runner.place(jnp.zeros(()))
    for rows in (4, 4, 6):
      state, _ = step(state, runner.split(jnp.ones(rows)))
      measured.done(rows)
  report = measured.report()
  name = "pmap" if kind == "pmap" else f"counted_{kind}"
  assert report["programs"] == {name: 2}
  assert report["late_programs"] == 1
  assert report["compile_s"] > 0
  assert "2 programs compiled" in pace.describe(report)
  assert "1 after the first iteration" in pace.describe(report)


def test_what_is_compiled_afterwards_or_by_others_does_not_count():
  with pace.Pace(["mine"]) as measured:
    jax.jit(lambda x: x + 3.25)(jnp.ones(3))

  @jax.jit
  def mine(x):
    return x + 4.25

  mine(jnp.ones(3))
  assert measured.report()["programs"] == {}


def test_a_run_compiles_one_program_of_each_kind():
  speed = json.loads((tiny_run.finished() / "speed.json").read_text())
  assert speed["programs"] == {"base_step": 1, "train_step": 1}
  assert speed["late_programs"] == 0
  assert speed["iterations"] == tiny_run.STEPS - 1
  assert 0 <= speed["waiting_share"] <= 1
  assert speed["images_per_s"] > 0
