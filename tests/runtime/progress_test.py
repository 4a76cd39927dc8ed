from __future__ import annotations

import io
import os
import shutil

import numpy as np
import pytest

from metabin_jax.runtime.progress import (
  Progress,
  format_line,
  format_number,
  format_seconds,
)


class Terminal(io.StringIO):
  def isatty(self):
    return True


class Clock:
  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


def test_log_line_by_hand():
  metrics = {
    "lr": 0.01,
    "beta": 0.00123,
    "loss/ce": 3.2149,
    "loss/triplet": np.float32(0.25),
    "epoch": 4,
  }
  assert format_line(100, 2000, metrics, 511.7) == (
    "step 100/2000 lr 1.0e-2 beta 1.2e-3 loss/ce 3.21 loss/triplet 0.25 "
    "epoch 4 512 images/s"
  )
  assert format_line(1, 2, {}) == "step 1/2"


@pytest.mark.parametrize(
  ("name", "value", "want"),
  [
    ("lr", 0, "0.0e0"),
    ("lr/norm", 0.35, "3.5e-1"),
    ("beta", 12.0, "1.2e1"),
    ("beta", float("nan"), "nan"),
    ("loss", float("inf"), "inf"),
    ("loss", 123456.7, "1.23e+05"),
    ("loss", 0.00012345, "0.000123"),
    ("images", 65536, "65536"),
    ("note", "on", "on"),
  ],
)
def test_numbers(name, value, want):
  assert format_number(name, value) == want


@pytest.mark.parametrize(
  ("seconds", "want"),
  [(0.2, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7620, "2h07m")],
)
def test_seconds(seconds, want):
  assert format_seconds(seconds) == want


def test_a_log_file_gets_one_line_per_interval_and_the_last_step():
  stream, clock = io.StringIO(), Clock()
  with Progress(7, log_every=3, stream=stream, clock=clock) as progress:
    for step in range(1, 8):
      clock.now += 0.5
      progress.update(step, images=40, metrics={"loss/ce": step / 4})
  assert stream.getvalue().splitlines() == [
    "step 3/7 loss/ce 0.75 80 images/s",
    "step 6/7 loss/ce 1.5 80 images/s",
    "step 7/7 loss/ce 1.75 80 images/s",
  ]


def test_speed_is_that_of_the_interval():
  stream, clock = io.StringIO(), Clock()
  progress = Progress(4, log_every=2, stream=stream, clock=clock)
  for step, seconds in enumerate((1, 1, 4, 4), start=1):
    clock.now += seconds
    progress.update(step, images=8)
  assert stream.getvalue() == "step 2/4 8 images/s\nstep 4/4 2 images/s\n"


def test_bar_on_a_terminal():
  stream, clock = Terminal(), Clock()
  with Progress(10, start=4, stream=stream, clock=clock) as progress:
    clock.now += 2
    progress.update(5, images=64, metrics={"loss/ce": 2.5, "lr": 0.1})
    clock.now += 0.01
    progress.update(6, images=64)  # too soon to draw again
    clock.now += 1.99
    progress.update(6, images=64)
  first, second = stream.getvalue().removesuffix("\n").split("\r")[1:]
  assert first == "[##########..........] 5/10 32 images/s 10s left loss/ce 2.5"
  assert second.rstrip() == (
    "[############........] 6/10 48 images/s 8s left loss/ce 2.5"
  )
  assert len(second) == len(first)  # spaces wipe the longer text
  assert stream.getvalue().endswith("\n")


def test_bar_fits_the_terminal(monkeypatch):
  size = os.terminal_size((30, 24))
  monkeypatch.setattr(shutil, "get_terminal_size", lambda: size)
  stream, clock = Terminal(), Clock()
  progress = Progress(10, stream=stream, clock=clock)
  clock.now += 1
  progress.update(5, images=64, metrics={"loss/ce": 2.5})
  assert len(stream.getvalue()) == 30  # "\r" and 29 columns


def test_nothing_is_drawn_when_nothing_was_done():
  stream = Terminal()
  Progress(10, stream=stream).close()
  assert stream.getvalue() == ""


def test_refuses_no_interval():
  with pytest.raises(ValueError, match="at least 1"):
    Progress(10, log_every=0)
