"""Two processes cannot share a workdir by mistake."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys

import pytest
import tiny_run

from metabin_jax.errors import UserError
from metabin_jax.runtime import claim, file_lock

HOLDER = """
import pathlib, sys, time
from metabin_jax.runtime import claim
with claim.claim(pathlib.Path(sys.argv[1])):
  print("held", flush=True)
  time.sleep(60)
"""


@pytest.fixture(name="holder")
def holder_fixture(tmp_path):
  """Another process that holds the folder "run"."""
  with subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
    stdout=subprocess.PIPE,
    cwd=tiny_run.REPOSITORY,
  ) as process:
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()


def test_a_held_workdir_is_refused_and_left_alone(tmp_path, holder, capfd):
  workdir = tmp_path / "run"
  before = sorted(workdir.iterdir())
  assert tiny_run.train(workdir) == 2
  said = capfd.readouterr().err
  assert f"is in use by process {holder.pid} on" in said
  assert "--hosts" in said
  assert sorted(workdir.iterdir()) == before


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
  with (
    pytest.raises(UserError, match="is in use"),
    claim.claim(tmp_path / "run"),
  ):
    pass
  holder.kill()
  holder.wait()
  with claim.claim(tmp_path / "run"):
    pass


def test_a_workdir_may_be_claimed_again(tmp_path):
  for _ in range(2):
    with claim.claim(tmp_path / "new" / "run"):
      assert (tmp_path / "new" / "run").is_dir()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_file_systems_without_locks(tmp_path, monkeypatch, number):
  def refuse(*unused):
    raise OSError(number, "no locks here")

  monkeypatch.setattr(fcntl, "flock", refuse)
  with file_lock.hold(tmp_path / "lock") as held:
    assert held


def test_other_errors_of_a_lock_are_errors(tmp_path, monkeypatch):
  def refuse(*unused):
    raise OSError(errno.EIO, "broken")

  monkeypatch.setattr(fcntl, "flock", refuse)
  with pytest.raises(OSError, match="broken"):
    file_lock.hold(tmp_path / "lock").__enter__()


def test_systems_without_locks(tmp_path, monkeypatch):
  monkeypatch.setattr(file_lock, "fcntl", None)
  with (
    file_lock.hold(tmp_path / "a") as one,
    file_lock.hold(tmp_path / "a") as two,
  ):
    assert one
    assert two


def test_a_lock_that_was_never_held_names_nobody(tmp_path):
  assert file_lock.holder(tmp_path / "lock") == "another process"


def test_one_host_sees_itself(tmp_path):
  claim.check_seen(tmp_path / "not there")
