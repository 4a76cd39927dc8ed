"""Gradients of rho: against finite differences, and of a real run."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run
from flax import linen as nn

from metabin_jax import models
from metabin_jax.data import array_source, readers
from metabin_jax.errors import UserError
from metabin_jax.methods import objectives
from metabin_jax.models import layers
from metabin_jax.models.norms.batch_instance import BatchInstanceNorm
from metabin_jax.report import layer_names, rho_gradients, runs
from metabin_jax.runtime import experiment, resolve, scoring

LOSSES = ("triplet", "scatter", "shuffle")


class Backbone(nn.Module):
  """Two smooth layers; their names are not in the order of the alphabet."""

  dtype: Any = jnp.float64

  @nn.compact
  def __call__(self, x, mode):
    for name in ("b", "a"):
      x = layers.Conv(3, 3, dtype=self.dtype, name=f"conv_{name}")(x)
      x = jnp.tanh(BatchInstanceNorm(name=name)(x, mode))
    return x


class Batch(NamedTuple):
  image: np.ndarray
  pid: np.ndarray
  domain: np.ndarray


def make_batch(seed):
  random = np.random.default_rng(seed)
  pid = np.repeat(np.arange(4, dtype=np.int32), 2)
  image = random.integers(0, 256, (8, 6, 4, 3), np.uint8)
  return Batch(image, pid, pid // 2)


def make_parts():
  return {name: objectives.make_objective((name,)) for name in LOSSES}


def test_gradients_are_finite_differences(float64):
  network = models.ReIDNetwork(Backbone(), num_classes=4, dtype=jnp.float64)
  variables = models.init_variables(network, jax.random.key(1), 6, 4)
  random = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key == "rho":
      return random.uniform(0.3, 0.7, leaf.shape)
    if path[-1].key == "var":
      return random.uniform(0.5, 2.0, leaf.shape)
    return random.normal(0.5, 0.5, leaf.shape)

  variables = jax.tree_util.tree_map_with_path(draw, variables)
  batches = [make_batch(seed) for seed in range(3)]
  found = rho_gradients.rho_gradients(
    network, variables, make_parts(), iter(batches)
  )
  assert list(found) == list(LOSSES)

  @jax.jit
  def losses_at(balance, batch):
    outputs = network.apply(
      {**variables, "balance": balance}, batch.image, mode="hold"
    )
    return [part(outputs, batch)[0] for part in make_parts().values()]

  step = 1e-6
  for layer in ("a", "b"):
    slopes = np.empty((len(batches), len(LOSSES), 3))
    for channel in range(3):
      for number, batch in enumerate(batches):
        ends = []
        for sign in (1, -1):
          balance = jax.tree.map(np.array, variables["balance"])
          balance["backbone"][layer]["rho"][channel] += sign * step
          ends.append(np.array(losses_at(balance, batch)))
        slopes[number, :, channel] = (ends[0] - ends[1]) / (2 * step)
    assert (slopes > 0).any()
    assert (slopes < 0).any()
    for index, name in enumerate(LOSSES):
      mine, want = found[name][layer], slopes[:, index]
      np.testing.assert_allclose(mine.mean, want.mean(0), rtol=2e-6, atol=1e-8)
      np.testing.assert_allclose(
        mine.size, np.abs(want).mean(0), rtol=2e-6, atol=1e-8
      )
      np.testing.assert_allclose(mine.positive, (want > 0).mean(0), rtol=1e-6)


def test_no_batch_is_refused():
  with pytest.raises(ValueError, match="no batch"):
    rho_gradients.rho_gradients(None, {}, {}, [])


@pytest.fixture(name="run", scope="module")
def run_fixture():
  return runs.find_runs([tiny_run.finished()])[0]


def test_batches_are_those_the_run_would_meet_next(run, monkeypatch):
  """And the checkpoint's weights, the run's losses and settings are used."""
  seen = []
  loaded = scoring.load_run(run.workdir, 4)
  order = list(layer_names.rho_of(loaded, ""))

  def look(network, variables, parts, batches):
    seen.append((variables, list(parts), list(batches)))
    return {name: dict.fromkeys(reversed(order), name) for name in parts}

  monkeypatch.setattr(rho_gradients, "rho_gradients", look)
  data = rho_gradients.load(run, runs.Options(step=4, batches=2))
  ((variables, parts, batches),) = seen
  assert (data.step, data.batches) == (4, 2)
  assert parts == list(loaded.config.loss.mtrain)
  assert list(data.gradients["triplet"]) == order
  for mine, want in zip(
    jax.tree.leaves(variables), jax.tree.leaves(loaded.variables), strict=True
  ):
    np.testing.assert_array_equal(mine, want)
  sources = [readers.open_dataset(s) for s in loaded.config.data.sources]
  plan = experiment.create_plan(
    loaded.config, [r for source in sources for r in source.train]
  )
  wanted = array_source.ArraySource(plan, workers=1).iterate(4, 6)
  for mine, iteration in zip(batches, wanted, strict=True):
    for a, b in zip(mine, iteration.mtrain, strict=True):
      np.testing.assert_array_equal(a, b)


def test_settings_of_the_losses_are_the_runs(run, monkeypatch):
  made = []
  used = {}

  def make_objective(names, **words):
    made.append((names, words))
    return lambda outputs, batch: ("weighted", {names[0]: f"{names[0]} alone"})

  def keep(network, variables, parts, batches):
    used.update(parts)
    return {}

  monkeypatch.setattr(objectives, "make_objective", make_objective)
  monkeypatch.setattr(rho_gradients, "rho_gradients", keep)
  rho_gradients.load(run, runs.Options(batches=1, losses=("ce", "triplet")))
  loss = run.description["config"]["loss"]
  words = {
    key: loss[key]
    for key in (
      "margin",
      "smoothing",
      "smoothing_spread",
      "scatter_normalize",
      "part_reduction",
    )
  }
  words["weights"] = loss["weights"]
  assert made == [(("ce",), words), (("triplet",), words)]
  # What is differentiated has weight 1, whatever the run's weights are.
  assert {name: part(None, None)[0] for name, part in used.items()} == {
    "ce": "ce alone",
    "triplet": "triplet alone",
  }


def test_refusals(run, tmp_path):
  with pytest.raises(UserError, match=r"no loss 'tripel' .*; .*triplet"):
    rho_gradients.load(run, runs.Options(losses=("tripel",)))
  with pytest.raises(UserError, match="no loss 'snr' of a network with rho"):
    rho_gradients.load(run, runs.Options(losses=("ce", "snr")))
  (baseline,) = runs.find_runs([tiny_run.finished(*tiny_run.BASELINE)])
  with pytest.raises(UserError, match="no rho"):
    rho_gradients.load(baseline, runs.Options())
  other = run._replace(description=run.description | {"data_sha256": "0"})
  with pytest.raises(UserError, match="other images or labels"):
    rho_gradients.load(other, runs.Options())


def test_a_run_without_a_meta_step_is_refused(run, monkeypatch):
  loaded = scoring.load_run(run.workdir)
  changed = resolve.to_dict(loaded.config) | {"method": "joint"}
  config = resolve.resolve(resolve.from_dict(changed))
  monkeypatch.setattr(
    scoring, "load_run", lambda *unused: loaded._replace(config=config)
  )
  with pytest.raises(UserError, match=r"method 'joint'.*no meta-train"):
    rho_gradients.load(run, runs.Options())


def test_rows():
  layer = rho_gradients.ChannelGradients(
    np.array([1.0, -2.0]), np.array([1.5, 2.0]), np.array([0.75, 0.0])
  )
  data = rho_gradients.RhoGradients(7, 4, {"triplet": {"bn1": layer}})
  assert list(rho_gradients.rows("mine", data)) == [
    ("mine", 7, 4, "triplet", "bn1", 0, 1.0, 1.5, 0.75),
    ("mine", 7, 4, "triplet", "bn1", 1, -2.0, 2.0, 0.0),
  ]
  assert len(rho_gradients.HEADER) == 9


def test_what_is_drawn():
  pytest.importorskip("matplotlib")
  from matplotlib.figure import Figure

  def layer(mean):
    channels = np.array([0.0, 2 * mean])
    shares = np.array([0.0, 0.5])
    return rho_gradients.ChannelGradients(channels, abs(channels), shares)

  gradients = {
    "triplet": {"bn1": layer(1e-3), "bn2": layer(-1e-3)},
    "scatter": {"bn1": layer(-1e-6), "bn2": layer(2e-6)},
  }
  data = {"mine": rho_gradients.RhoGradients(7, 4, gradients)}
  figure = Figure(rho_gradients.size(data))
  rho_gradients.draw(figure, data)
  mean, size, positive = figure.get_axes()
  triplet, scatter, zero = mean.lines
  np.testing.assert_allclose(triplet.get_ydata(), [1e-3, -1e-3])
  np.testing.assert_allclose(scatter.get_ydata(), [-1e-6, 2e-6])
  assert list(zero.get_ydata()) == [0, 0]
  np.testing.assert_allclose(size.lines[0].get_ydata(), [1e-3, 1e-3])
  np.testing.assert_allclose(positive.lines[0].get_ydata(), [25, 25])
  # Both losses can be seen: each decade has its place.
  places = mean.transData.transform([(0, 0), (0, 2e-6), (0, 1e-3)])[:, 1]
  height = mean.transAxes.transform([(0, 1)])[0, 1]
  assert places[1] - places[0] > 0.02 * height
  ticks = mean.get_yticks()
  assert 0 in ticks
  assert 3 <= len(ticks) <= 9
  labels = [text.get_text() for text in positive.get_xticklabels()]
  assert labels == ["bn1", "bn2"]


def test_gradients_that_vanish_can_be_drawn():
  pytest.importorskip("matplotlib")
  from matplotlib.figure import Figure

  nothing = rho_gradients.ChannelGradients(*np.zeros((3, 2)))
  data = {"mine": rho_gradients.RhoGradients(7, 4, {"ce": {"bn1": nothing}})}
  figure = Figure(rho_gradients.size(data))
  rho_gradients.draw(figure, data)
  figure.canvas.draw()
