"""Two processes of four devices each, over loopback, are one machine."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import tiny_run

sys.path.append(str(tiny_run.REPOSITORY / "tests" / "runtime"))
import parallel_test

# 24 images, 16 and 8: multiples of eight devices.
BATCH = "--config.data.batch_size=24"
# Float32 rounding grows where a ReLU or a hardest pair turns over, from the
# third iteration of this network on. Five iterations are compared in
# test_iterations_of_two_processes, whose network has no such corners.
STEPS = 2
DEAD_WITHIN_S = 100


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def spawn(*words, **variables):
  """A process with four devices, and more in its environment."""
  flags = "--xla_force_host_platform_device_count=4"
  return subprocess.Popen(
    [sys.executable, *words],
    cwd=tiny_run.REPOSITORY,
    env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | variables,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def start(workdir, index, port, *options, hosts=2):
  """One process of a run."""
  words = [
    *tiny_run.argv(workdir, BATCH, *options),
    "--config.parallel.devices=0",
    f"--hosts={hosts}",
    f"--host_index={index}",
    f"--coordinator=127.0.0.1:{port}",
  ]
  return spawn("-m", "metabin_jax", *words)


def length(steps):
  """Options for a run of so many iterations, each logged and saved."""
  return [
    f"--config.train.{name}={value}"
    for name, value in (
      ("steps", steps),
      ("log_every_steps", 1),
      ("checkpoint_every_steps", 1),
    )
  ]


def run(workdir, steps=STEPS):
  """Both processes to their ends; their outputs."""
  port = free_port()
  both = [start(workdir, index, port, *length(steps)) for index in (0, 1)]
  return finish(both)


def finish(both):
  """Waits for both; their outputs."""
  said = [process.communicate(timeout=500)[0] for process in both]
  assert [process.returncode for process in both] == [0, 0], "\n".join(said)
  return said


@pytest.fixture(name="whole", scope="module")
def whole_fixture(tmp_path_factory):
  """The same run in one process, on one device."""
  workdir = tmp_path_factory.mktemp("whole") / "run"
  assert tiny_run.train(workdir, BATCH, *length(STEPS)) == 0
  return workdir


@pytest.fixture(name="pair", scope="module")
def pair_fixture(tmp_path_factory):
  """A finished run of both processes, and what they said."""
  workdir = tmp_path_factory.mktemp("pair") / "run"
  return workdir, run(workdir)


def assert_near(first, second, losses=1e-5, arrays=1e-3):
  """Losses of the last iteration, and the arrays of the last checkpoint.

  Arrays to a share of their largest entry, as biases were zero at the start and
  are two small steps away from it now; and to 1e-7, as sums that are zero
  exactly (the neck's bias has no gradient at first) are rounding only.
  """
  last = [
    json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    for folder in (first, second)
  ]
  names = [name for name in last[0] if "loss" in name or "/t" in name]
  assert len(names) > 4
  for name in names:
    assert last[0][name] == pytest.approx(last[1][name], rel=losses), name
  one, other = tiny_run.leaves(first), tiny_run.leaves(second)
  assert one.keys() == other.keys()
  for name, value in one.items():
    error = np.abs(value.astype(float) - other[name]).max(initial=0)
    limit = arrays * np.abs(value).max(initial=0) + 1e-7
    assert error <= limit, f"{name}: {error}"


@pytest.mark.slow
def test_iterations_of_two_processes(tmp_path):
  port, worker = free_port(), "tests/one_of_two_hosts.py"
  (tmp_path / "0").mkdir()
  finish([spawn(worker, str(i), str(port), str(tmp_path)) for i in (0, 1)])
  assert_refusals(tmp_path)
  first, second = [
    pickle.loads((tmp_path / f"{index}.pkl").read_bytes()) for index in (0, 1)
  ]
  assert len(first) == 4
  for (kind, order), leaves in first.items():
    state, metrics = parallel_test.train(parallel_test.metabin_step(order))
    tree = jax.tree.structure((state, metrics))
    parallel_test.assert_near(
      jax.tree.unflatten(tree, leaves), (state, metrics)
    )
    for one, other in zip(leaves, second[kind, order], strict=True):
      assert one.tobytes() == other.tobytes()


def assert_refusals(folder):
  """What both have to say of folders and values that differ."""
  for index, who in enumerate(("another host does", "this host does")):
    said = json.loads((folder / f"{index}.json").read_text())
    assert said[0] is None
    assert said[1].startswith(f"{who} not see what host 0 writes to")
    assert said[2] == f"the hosts differ in b (here '{index}'); mend it."
    assert said[3].startswith("the hosts differ in what they are to compare")
  assert not list((folder / "0").iterdir())


@pytest.mark.slow
def test_two_processes_are_one(whole, pair):
  workdir, _ = pair
  assert tiny_run.steps(workdir) == tiny_run.steps(whole)
  assert_near(workdir, whole)
  scores = [
    json.loads((folder / "result.json").read_text())["results"][0]
    for folder in (workdir, whole)
  ]
  assert scores[0] == scores[1]


def line_of_a_library(line: str) -> bool:
  """The libraries cannot be told to be quiet: of a slow compilation, too."""
  words = ("[Gloo]", "slow_operation_alarm", "[Compiling module")
  return any(word in line for word in words)


@pytest.mark.slow
def test_one_of_them_speaks_and_writes(pair):
  workdir, (first, second) = pair
  assert "done: 2 iterations" in first
  assert "rank-1" in first
  ours = [line for line in second.splitlines() if line.strip(" *")]
  assert not [line for line in ours if not line_of_a_library(line)]
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])
def test_restored_on_fewer_devices(whole, tmp_path, devices):
  run(tmp_path, steps=1)
  option = f"--config.parallel.devices={devices}"
  assert tiny_run.train(tmp_path, BATCH, option, *length(STEPS)) == 0
  assert_near(tmp_path, whole)


@pytest.mark.slow
def test_sigterm_to_one_stops_both(tmp_path):
  port = free_port()
  both = [start(tmp_path, index, port, *length(2000)) for index in (0, 1)]
  wait_for_checkpoint(tmp_path, both)
  both[1].send_signal(signal.SIGTERM)
  said = [process.communicate(timeout=200)[0] for process in both]
  assert [p.returncode for p in both] == [128 + signal.SIGTERM] * 2, said
  assert "saved; the same command continues" in said[0]
  assert tiny_run.steps(tmp_path)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_run_goes_on(tmp_path):
  port, cut = free_port(), tmp_path / "cut"
  both = [start(cut, index, port, *length(2000)) for index in (0, 1)]
  wait_for_checkpoint(cut, both)
  both[1].kill()
  began = time.monotonic()
  said, _ = both[0].communicate(timeout=DEAD_WITHIN_S)
  assert both[0].returncode not in (0, None)
  print(f"ended after {time.monotonic() - began:.0f} s: {said[-500:]}")
  both[1].communicate()
  steps = tiny_run.steps(cut)[-1] + 2
  run(cut, steps)
  run(tmp_path / "never_cut", steps)
  tiny_run.assert_same_run(cut, tmp_path / "never_cut")


@pytest.mark.slow
def test_the_others_of_a_killed_coordinator_say_so(tmp_path):
  port = free_port()
  both = [start(tmp_path, index, port, *length(2000)) for index in (0, 1)]
  wait_for_checkpoint(tmp_path, both)
  both[0].kill()
  said, _ = both[1].communicate(timeout=DEAD_WITHIN_S)
  assert both[1].returncode == 1, said
  assert "Traceback" not in said
  assert "another host has left or cannot be reached" in said
  both[0].communicate()


@pytest.mark.slow
def test_hosts_of_two_configurations_name_the_key(tmp_path):
  port, rate = free_port(), "--config.optim.lr=0.5"
  both = [
    start(tmp_path / "run", 0, port),
    start(tmp_path / "run", 1, port, rate),
  ]
  for process in both:
    said, _ = process.communicate(timeout=DEAD_WITHIN_S)
    assert process.returncode == 2, said
    assert "the hosts differ in optim.lr (here 0." in said
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["source", "save"])
def test_an_error_on_one_host_ends_all(broken, tmp_path):
  """A wrong path on host 1; a folder that host 0 cannot save to."""
  port, workdir = free_port(), tmp_path / "run"
  both = [start(workdir, index, port, *length(2000)) for index in (0,)]
  option = "--config.data.pad_px=2"  # as it is
  if broken == "source":
    option = "--config.data.sources=('manifest:/not/there.csv',)"
  both.append(start(workdir, 1, port, *length(2000), option))
  culprit, other = both
  if broken == "source":
    culprit, other = other, culprit
  else:
    wait_for_checkpoint(workdir, both)
    # A file in its place: even the superuser cannot save there.
    checkpoints = workdir / "checkpoints"
    checkpoints.rename(tmp_path / "aside")
    checkpoints.write_text("in the way")
  said, _ = culprit.communicate(timeout=DEAD_WITHIN_S)
  assert culprit.returncode == 2, said
  assert "metabin train: this host leaves" in said
  said, _ = other.communicate(timeout=DEAD_WITHIN_S)
  assert other.returncode not in (0, None), said
  print(said[-1000:])


@pytest.mark.slow
def test_slurm_says_who_takes_part(tmp_path):
  """Its variables, without Slurm; the coordinator is this machine."""
  job = str(random.randrange(10_000))
  both = []
  for index in ("0", "1"):
    slurm = {
      "SLURM_JOB_ID": job,
      "SLURM_STEP_NODELIST": "127.0.0.1",
      "SLURM_NTASKS": "2",
      "SLURM_PROCID": index,
      "SLURM_LOCALID": index,
    }
    words = tiny_run.argv(tmp_path, BATCH, *length(1))
    words += ["--config.parallel.devices=0", "--hosts=auto"]
    both.append(spawn("-m", "metabin_jax", *words, **slurm))
  said = finish(both)
  assert "done: 1 iterations" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("there", [(0,), (1,), (0, 2)])
def test_a_missing_host_is_an_error(there, tmp_path):
  port = free_port()
  processes = [
    start(tmp_path, i, port, "--host_timeout=15", hosts=3) for i in there
  ]
  for process in processes:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "not all hosts came within 15 s" in said
  assert not list(tmp_path.iterdir())


def wait_for_checkpoint(workdir, processes):
  deadline = time.monotonic() + 300
  while not tiny_run.steps(workdir):
    assert all(process.poll() is None for process in processes), [
      process.communicate()[0] for process in processes
    ]
    assert time.monotonic() < deadline
    time.sleep(0.5)
