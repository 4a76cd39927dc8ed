"""The train loop around a step of three numbers."""

from __future__ import annotations

import json
import os
import signal
import types

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run

from metabin_jax import default_config
from metabin_jax.data.batches import Batch, Iteration
from metabin_jax.data.records import DataSet, Record
from metabin_jax.errors import UserError
from metabin_jax.methods.state import TrainState
from metabin_jax.runtime import (
  experiment,
  finite,
  loop,
  parallel,
  resolve,
  run_folder,
)
from metabin_jax.runtime.checkpoint import CheckpointStore
from metabin_jax.runtime.metric_writer import load_metrics

SOURCES = [
  DataSet("d", tuple(Record(f"{i}.png", f"d/{i}", i, "d") for i in range(3)))
]


class Setup:
  """Trains toy runs; `before(step)` is called within each iteration."""

  def __init__(self):
    self.before = lambda step, state: state
    self.said = []
    self.built = 0

  def create_experiment(self, config, records, initialize=None, further=()):
    assert not further
    self.built += 1
    state = TrainState(
      step=jnp.zeros((), jnp.int32),
      params={"w": jnp.ones(3), "v": jnp.ones(())},
      balance={
        "backbone": {"layer1": {"bn": {"rho": jnp.array([0.25, 0.75])}}}
      },
      batch_stats={},
      opt_params=(),
      opt_balance=(),
    )

    def update(state, batch):
      state = self.before(int(state.step), state)
      w = 0.9 * state.params["w"] + batch.image.mean()
      state = state.replace(params=state.params | {"w": w})
      return state, {"loss/ce": w.sum(), "lr": jnp.asarray(0.1)}

    def train_step(state, item):
      state, metrics = update(state, item.base[-1])
      metrics["beta"] = jnp.asarray(0.01)
      return state.replace(step=state.step + 1), metrics

    return experiment.Experiment(
      network=None,
      plan=None,
      horizon=experiment.Horizon(
        4, config.train.steps, config.train.checkpoint_every_steps
      ),
      runner=parallel.Runner(),
      state=state,
      base_step=update,
      train_step=train_step,
    )

  def train(self, workdir, **changes):
    config = default_config.get_config()
    config.train.update(
      {"steps": 6, "log_every_steps": 2, "checkpoint_every_steps": 2} | changes
    )
    return loop.train(
      resolve.resolve(config), SOURCES, workdir, say=self.said.append
    )


def iterate(start, stop):
  for step in range(start, stop):
    pixels = np.random.default_rng(step).random((4, 2, 2, 3), np.float32)
    batch = Batch(pixels, np.arange(4), np.zeros(4, int))
    yield Iteration(step, (batch,) * (2 if step == 0 else 1), batch, batch)


@pytest.fixture(name="toy")
def toy_fixture(monkeypatch):
  toy = Setup()
  monkeypatch.setattr(experiment, "create_experiment", toy.create_experiment)
  monkeypatch.setattr(
    loop, "_create_source", lambda *_: types.SimpleNamespace(iterate=iterate)
  )
  return toy


def bits(workdir):
  return {k: v.tobytes() for k, v in tiny_run.leaves(workdir).items()}


def metrics_text(workdir):
  return (workdir / "metrics.jsonl").read_bytes()


def test_a_run_leaves_lines_metrics_and_checkpoints(toy, tmp_path, capsys):
  outcome = toy.train(tmp_path)
  assert (outcome.step, outcome.total_steps) == (6, 6)
  assert outcome.stopped_by is None
  lines = capsys.readouterr().err.splitlines()
  assert [line.split()[1] for line in lines] == ["2/6", "4/6", "6/6"]
  for part in (" lr 1.0e-1", " beta 1.0e-2", " loss/ce ", " images/s"):
    assert all(part in line for line in lines)
  written = load_metrics(tmp_path)
  assert [line["step"] for line in written] == [2, 4, 6]
  assert written[0]["rho/layer1_bn/mean"] == 0.5
  assert written[0]["rho/layer1_bn/std"] == 0.25
  assert "rho/mean" in written[0]
  # The newest metrics, not those of the step before.
  assert written[-1]["loss/ce"] == float(outcome.state.params["w"].sum())
  assert tiny_run.steps(tmp_path) == (4, 6)
  stored = CheckpointStore(tmp_path / "checkpoints").restore_raw().metadata
  assert stored == json.loads((tmp_path / "run.json").read_text())
  assert stored["num_classes"] == 3
  assert stored["config"]["train"]["steps"] == 6


@pytest.mark.parametrize(
  ("keep", "every", "left"), [(1, 2, (6,)), (3, 1, (4, 5, 6)), (2, 4, (4, 6))]
)
def test_the_last_checkpoint_is_kept(toy, tmp_path, keep, every, left):
  toy.train(tmp_path, keep_checkpoints=keep, checkpoint_every_steps=every)
  assert tiny_run.steps(tmp_path) == left


@pytest.mark.parametrize("at", range(6))
def test_an_interruption_anywhere_changes_nothing(toy, tmp_path, at):
  toy.train(tmp_path / "whole")

  def fail(step, state):
    if step == at:
      raise OSError("power cut")
    return state

  toy.before = fail
  with pytest.raises(OSError, match="power cut"):
    toy.train(tmp_path / "cut")
  toy.before = lambda step, state: state
  toy.train(tmp_path / "cut")
  assert bits(tmp_path / "cut") == bits(tmp_path / "whole")
  assert metrics_text(tmp_path / "cut") == metrics_text(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(toy, tmp_path, number):
  toy.train(tmp_path / "whole")
  handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]

  def send(step, state):
    if step == 2:
      os.kill(os.getpid(), number)
    return state

  toy.before = send
  outcome = toy.train(tmp_path / "cut")
  assert (outcome.step, outcome.stopped_by) == (3, number)
  assert tiny_run.steps(tmp_path / "cut") == (2, 3)
  assert handlers == [
    signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)
  ]
  toy.before = lambda step, state: state
  assert toy.train(tmp_path / "cut").step == 6
  assert bits(tmp_path / "cut") == bits(tmp_path / "whole")
  assert metrics_text(tmp_path / "cut") == metrics_text(tmp_path / "whole")


@pytest.mark.parametrize("reads", range(8))
def test_a_signal_at_any_moment_finds_its_state_saved(
  toy, tmp_path, monkeypatch, reads
):
  class Late:
    count = 0

    def __enter__(self):
      return self

    def __exit__(self, *unused):
      pass

    @property
    def signal_number(self):
      self.count += 1
      return signal.SIGTERM if self.count > reads else None

  monkeypatch.setattr(loop.stopping, "StopRequest", Late)
  outcome = toy.train(tmp_path, checkpoint_every_steps=100)
  assert tiny_run.steps(tmp_path)[-1] == outcome.step


def poison(at, value, name="w"):
  def change(step, state):
    if step != at:
      return state
    return state.replace(
      params=state.params | {name: state.params[name] * value}
    )

  return change


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 2, 3, 5])
def test_a_bad_loss_stops_the_run_and_is_not_saved(toy, tmp_path, value, at):
  toy.before = poison(at, value)
  with pytest.raises(finite.NonFiniteError) as caught:
    toy.train(tmp_path)
  said = str(caught.value)
  assert f"iteration {at}: loss/ce = {value}" in said
  assert "params/w" in said
  assert all(step <= at for step in tiny_run.steps(tmp_path))
  for step in tiny_run.steps(tmp_path):
    for name, leaf in tiny_run.leaves(tmp_path, step).items():
      assert np.isfinite(leaf).all(), (step, name)
  assert b"nonfinite" not in metrics_text(tmp_path)
  toy.before = lambda step, state: state
  assert toy.train(tmp_path).step == 6


def test_a_bad_state_behind_a_good_loss_is_not_saved(toy, tmp_path):
  toy.before = poison(2, np.nan, "v")  # no part of the loss
  with pytest.raises(
    finite.NonFiniteError, match=r"after iteration 3 .*params/v"
  ):
    toy.train(tmp_path)
  assert tiny_run.steps(tmp_path) == (2,)


def test_damage_is_said_and_the_checkpoint_before_used(toy, tmp_path):
  toy.train(tmp_path / "whole")
  toy.train(tmp_path / "cut")
  tiny_run.flip_byte(tmp_path / "cut", 6)
  toy.said.clear()
  toy.train(tmp_path / "cut")
  assert "step 6 is damaged" in toy.said[0]
  assert toy.said[0].endswith("using step 4")
  assert toy.said[1] == "continuing at iteration 4 of 6"
  assert bits(tmp_path / "cut") == bits(tmp_path / "whole")
  assert metrics_text(tmp_path / "cut") == metrics_text(tmp_path / "whole")


def test_other_settings_are_refused_before_anything_is_built(toy, tmp_path):
  toy.train(tmp_path)
  built = toy.built
  with pytest.raises(UserError, match=r"train\.seed was 2020, is 7"):
    toy.train(tmp_path, seed=7)
  assert toy.built == built
  # The checkpoint says the same when run.json is lost.
  (tmp_path / "run.json").unlink()
  with pytest.raises(UserError, match=r"train\.seed was 2020, is 7"):
    toy.train(tmp_path, seed=7)
  assert not (tmp_path / "run.json").exists()
  assert toy.train(tmp_path).step == 6


def test_a_folder_without_checkpoints_binds_to_nothing(toy, tmp_path):
  run_folder.save_description(tmp_path, {"config": {}, "data_sha256": "old"})
  assert toy.train(tmp_path).step == 6


def test_a_finished_run_may_be_made_longer(toy, tmp_path):
  toy.train(tmp_path)
  built = bits(tmp_path)
  assert toy.train(tmp_path).step == 6
  assert toy.said[-1].startswith("nothing to train:")
  assert bits(tmp_path) == built
  assert toy.train(tmp_path, steps=8).step == 8
  toy.train(tmp_path / "whole", steps=8)
  assert bits(tmp_path) == bits(tmp_path / "whole")


def test_rho_summary():
  assert loop.rho_summary({}) == {}
  balance = {
    "backbone": {
      "layer1": {"rho": jnp.array([0.0, 1.0])},
      "layer2_0": {"bn1": {"rho": jnp.array([1.0, 1.0])}},
    }
  }
  summary = loop.rho_summary(balance)
  assert summary["rho/mean"] == 0.75
  assert summary["rho/layer1/mean"] == 0.5
  assert summary["rho/layer1/std"] == 0.5
  assert summary["rho/layer2_0_bn1/mean"] == 1.0
  assert summary["rho/layer2_0_bn1/std"] == 0.0
