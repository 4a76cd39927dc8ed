"""Stopped, killed and damaged runs end as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
import tiny_run

from metabin_jax.runtime import loop

# Kills itself in the worst moment: a checkpoint is written, but not in place.
KILLED = """
import os, signal, sys
from metabin_jax.runtime import checkpoint
write = checkpoint.write_folder
def write_and_die(folder, step, *rest):
  write(folder, step, *rest)
  if step == 4:
    os.kill(os.getpid(), signal.SIGKILL)
checkpoint.write_folder = write_and_die
from metabin_jax.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_killed_and_resumed_equals_never_stopped(tmp_path, capsys):
  killed = subprocess.run(
    [sys.executable, "-c", KILLED, *tiny_run.argv(tmp_path)],
    cwd=tiny_run.REPOSITORY,
    capture_output=True,
    check=False,
  )
  assert killed.returncode == -signal.SIGKILL, killed.stderr
  assert tiny_run.steps(tmp_path) == (2,)
  assert tiny_run.train(tmp_path) == 0
  assert "continuing at iteration 2 of 6" in capsys.readouterr().err
  tiny_run.assert_same_run(tiny_run.finished(), tmp_path)


@pytest.fixture(name="stopped", scope="module")
def stopped_fixture(tmp_path_factory):
  """A run that SIGTERM has stopped in its third iteration."""
  workdir = tmp_path_factory.mktemp("stopped") / "run"
  count_images = loop._count_images
  seen = []

  def count_and_signal(item):
    seen.append(item.step)
    if len(seen) == 2:
      os.kill(os.getpid(), signal.SIGTERM)
    return count_images(item)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, "_count_images", count_and_signal)
    status = tiny_run.train(workdir)
  assert seen == [0, 1, 2]
  assert status == 128 + signal.SIGTERM
  return workdir


def test_sigterm_saves_says_so_and_resumes_exactly(stopped, tmp_path, capsys):
  last = 3  # between two regular checkpoints
  assert tiny_run.steps(stopped) == (2, last)
  assert not (stopped / "result.json").exists()
  workdir = tmp_path / "run"
  shutil.copytree(stopped, workdir)
  assert tiny_run.train(workdir) == 0
  assert f"continuing at iteration {last} of 6" in capsys.readouterr().err
  tiny_run.assert_same_run(tiny_run.finished(), workdir)


def test_a_flipped_byte_is_said_and_the_run_ends_the_same(
  stopped, tmp_path, capsys
):
  workdir = tmp_path / "run"
  shutil.copytree(stopped, workdir)
  *_, before, last = tiny_run.steps(workdir)
  tiny_run.flip_byte(workdir, last)
  assert tiny_run.train(workdir) == 0
  said = capsys.readouterr().err
  assert f"checkpoint step {last} is damaged (digest of" in said
  assert f"using step {before}" in said
  assert f"continuing at iteration {before} of 6" in said
  tiny_run.assert_same_run(tiny_run.finished(), workdir)


def test_nothing_good_left_is_refused_and_nothing_lost(
  stopped, tmp_path, capsys
):
  workdir = tmp_path / "run"
  shutil.copytree(stopped, workdir)
  for step in tiny_run.steps(workdir):
    tiny_run.flip_byte(workdir, step)
  steps = tiny_run.steps(workdir)
  metrics = (workdir / "metrics.jsonl").read_bytes()
  assert tiny_run.train(workdir) == 2
  said = capsys.readouterr().err
  assert "no checkpoint in" in said
  assert "Traceback" not in said
  assert tiny_run.steps(workdir) == steps
  assert (workdir / "metrics.jsonl").read_bytes() == metrics
