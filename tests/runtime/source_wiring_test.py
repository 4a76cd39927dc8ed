"""Which loader and which cache a configuration leads to."""

from __future__ import annotations

import os
import signal
import types

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run

from metabin_jax import default_config
from metabin_jax.data import (
  array_source,
  images,
  pipeline,
  pixel_preparation,
)
from metabin_jax.data.records import DataSet
from metabin_jax.methods.state import TrainState
from metabin_jax.runtime import experiment, loop, parallel, resolve

STOP = types.SimpleNamespace(signal_number=None)


def make(**changes):
  config = default_config.get_config()
  config.data.update(changes)
  return resolve.resolve(config)


@pytest.fixture(name="prepared")
def prepared_fixture(monkeypatch):
  """What `prepare` is called with; it gives "pixels"."""
  calls = []

  def prepare(*args, **words):
    calls.append((args, words))
    return "pixels"

  monkeypatch.setattr(pixel_preparation, "prepare", prepare)
  return calls


@pytest.fixture(name="opened")
def opened_fixture(monkeypatch):
  """What the loaders are called with."""
  calls = []
  for module, name in ((array_source, "ArraySource"), (pipeline, "TfSource")):
    monkeypatch.setattr(
      module,
      name,
      lambda plan, name=name, **words: calls.append((name, plan, words)),
    )
  return calls


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_nothing_is_prepared_unless_asked_for(prepared, cache):
  assert loop._prepare_pixels(make(cache=cache), [], STOP, print) is None
  assert not prepared


def test_preparation(prepared):
  sources = [DataSet("d")]
  config = make(cache="disk", height_px=64, width_px=32)
  stop = types.SimpleNamespace(signal_number=None)
  assert loop._prepare_pixels(config, sources, stop, print) == "pixels"
  ((args, words),) = prepared
  assert args == (sources,)
  stopped = words.pop("stopped")
  assert not stopped()
  stop.signal_number = signal.SIGTERM
  assert stopped()
  assert words == {
    "height": 64,
    "width": 32,
    "root": None,
    "workers": None,
    "say": print,
  }
  config = make(cache="disk", cache_dir="/some/where", workers=3)
  loop._prepare_pixels(config, sources, stop, print)
  _, words = prepared[1]
  assert (words["root"], words["workers"]) == ("/some/where", 3)


@pytest.mark.parametrize(
  ("cache", "pixels", "cache_images"),
  [("memory", None, None), ("none", None, False), ("disk", "pixels", False)],
)
def test_array_source(opened, cache, pixels, cache_images):
  loop._create_source(make(cache=cache, workers=3), "plan", pixels)
  assert opened == [
    (
      "ArraySource",
      "plan",
      {
        "workers": 3,
        "cache_images": cache_images,
        "prefetch": 2,
        "pixels": pixels,
      },
    )
  ]


@pytest.mark.parametrize("pixels", [None, "pixels"])
def test_tf_source(opened, pixels):
  loop._create_source(make(loader="tf", prefetch=5), "plan", pixels)
  assert opened == [
    ("TfSource", "plan", {"workers": None, "prefetch": 5, "pixels": pixels})
  ]


@pytest.fixture(name="seen")
def seen_fixture(monkeypatch):
  """Digests of the batches that reach the steps; no network is built."""
  digests = []

  def step(state, batches):
    for batch in batches:
      digests.append([np.asarray(part).tobytes() for part in batch])
    return state, {"lr": jnp.zeros(())}

  def create_experiment(config, records, initialize=None, further=()):
    assert not further
    return experiment.Experiment(
      network=None,
      plan=experiment.create_plan(config, records),
      horizon=experiment.Horizon(4, config.train.steps, 100),
      runner=parallel.Runner(),
      state=TrainState(
        step=jnp.zeros((), jnp.int32),
        params={"w": jnp.ones(3)},
        balance={},
        batch_stats={},
        opt_params=(),
        opt_balance=(),
      ),
      base_step=lambda state, batch: step(state, [batch]),
      train_step=lambda state, item: step(
        state.replace(step=state.step + 1),
        [*item.base, item.mtrain, item.mtest],
      ),
    )

  monkeypatch.setattr(experiment, "create_experiment", create_experiment)
  return digests


def train(workdir, *options):
  return tiny_run.train(workdir, "--config.data.targets=()", *options)


def test_a_run_sees_the_same_with_every_cache(tmp_path, capsys, seen):
  root = tmp_path / "cache"
  runs = {}
  for cache in ("memory", "none", "disk"):
    options = (
      f"--config.data.cache={cache}",
      f"--config.data.cache_dir={root}",
    )
    assert train(tmp_path / cache, *options) == 0
    runs[cache] = [*seen]
    seen.clear()
    assert root.exists() == (cache == "disk")
  assert len(runs["memory"]) > 10
  assert runs["memory"] == runs["none"] == runs["disk"]
  (folder,) = (root / "pixels").iterdir()
  said = capsys.readouterr().err
  assert f"36 images of train are prepared in {folder}" in said


def test_a_signal_ends_the_preparation(tmp_path, capsys, monkeypatch, seen):
  assert train(tmp_path / "whole") == 0
  whole = [*seen]
  seen.clear()
  monkeypatch.setattr(pixel_preparation, "CHUNK", 4)
  real = images.load_image
  read: list[str] = []

  def load(path, *size):
    if not read:
      os.kill(os.getpid(), signal.SIGTERM)
    read.append(path)
    return real(path, *size)

  monkeypatch.setattr(images, "load_image", load)
  options = (
    "--config.data.cache=disk",
    f"--config.data.cache_dir={tmp_path / 'cache'}",
  )
  assert train(tmp_path / "run", *options) == 128 + signal.SIGTERM
  assert "stopped by signal 15 after iteration 0" in capsys.readouterr().err
  assert tiny_run.steps(tmp_path / "run") == (0,)
  assert not seen
  assert len(read) < 36
  assert train(tmp_path / "run", *options) == 0
  assert len(read) == len(set(read)) == 36
  assert seen == whole


@pytest.mark.slow
def test_a_real_run_is_the_same_with_the_cache_on_disk(tmp_path):
  options = (
    "--config.data.cache=disk",
    f"--config.data.cache_dir={tmp_path / 'cache'}",
  )
  assert tiny_run.train(tmp_path / "run", *options) == 0
  tiny_run.assert_same_run(tiny_run.finished(), tmp_path / "run")
