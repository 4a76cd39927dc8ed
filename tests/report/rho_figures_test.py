"""rho by layer and over the iterations: what is read from runs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_run

from metabin_jax.errors import UserError
from metabin_jax.report import rho_layers, rho_training, runs


@pytest.fixture(name="run", scope="module")
def run_fixture():
  return runs.find_runs([tiny_run.finished()])[0]


@pytest.fixture(name="baseline", scope="module")
def baseline_fixture():
  return runs.find_runs([tiny_run.finished(*tiny_run.BASELINE)])[0]


def test_every_rho_of_a_checkpoint(run):
  data = rho_layers.load(run, runs.Options(step=4))
  assert data.step == 4
  stored = {
    "_".join(path.split("/")[2:-1]): values
    for path, values in tiny_run.leaves(run.workdir, 4).items()
    if path.endswith("/rho")
  }
  assert len(stored) == 20
  assert data.rho.keys() == stored.keys()
  for layer, values in data.rho.items():
    np.testing.assert_array_equal(values, stored[layer])
  names = list(data.rho)
  assert names[0] == "bn1"
  # A block's shortcut comes after its own layers.
  assert names.index("layer2_0_downsample_bn") > names.index("layer2_0_bn2")
  rows = list(rho_layers.rows("mine", data))
  assert rows[1] == ("mine", 4, "bn1", 1, data.rho["bn1"][1])
  assert len(rows) == sum(values.size for values in stored.values())


def test_the_newest_checkpoint_is_the_default(run):
  assert rho_layers.load(run, runs.Options()).step == tiny_run.STEPS


def test_runs_without_rho_are_refused(baseline):
  with pytest.raises(UserError, match="no rho"):
    rho_layers.load(baseline, runs.Options())
  with pytest.raises(UserError, match="no rho"):
    rho_training.load(baseline, runs.Options())


def test_rho_over_the_iterations(run):
  data = rho_training.load(run, runs.Options())
  lines = [
    json.loads(line)
    for line in (run.workdir / "metrics.jsonl").read_text().splitlines()
  ]
  np.testing.assert_array_equal(data.steps, [line["step"] for line in lines])
  order = list(rho_layers.load(run, runs.Options()).rho)
  assert list(data.moments) == [rho_training.ALL, *order]
  rows = list(rho_training.rows("mine", data))
  for step, mean, std in zip(data.steps, *data.moments["bn1"].T, strict=True):
    line = lines[list(data.steps).index(step)]
    assert (mean, std) == (line["rho/bn1/mean"], line["rho/bn1/std"])
    assert ("mine", step, "bn1", mean, std) in rows
  assert rows[0] == (
    "mine", data.steps[0], "all", lines[0]["rho/mean"], lines[0]["rho/std"]
  )  # fmt: skip
  assert len(rows) == 21 * len(lines)


def test_layers_to_draw(run):
  order = list(rho_layers.load(run, runs.Options()).rho)
  shown = rho_training.load(run, runs.Options()).shown
  assert len(shown) == 5
  assert (shown[0], shown[-1]) == (order[0], order[-1])
  assert [order.index(name) for name in shown] == [0, 5, 10, 14, 19]
  chosen = ("layer3_0_bn1", "bn1")
  assert rho_training.load(run, runs.Options(layers=chosen)).shown == chosen
  with pytest.raises(UserError, match=r"no layer 'bn9'.* bn1, layer1_0_bn1"):
    rho_training.load(run, runs.Options(layers=("bn9",)))


def test_metrics_of_another_network_are_refused(run, tmp_path):
  shutil.copytree(run.workdir, tmp_path / "run")
  metrics = tmp_path / "run" / "metrics.jsonl"
  text = metrics.read_text().replace("rho/bn1/", "rho/bn7/")
  metrics.write_text(text)
  (other,) = runs.find_runs([tmp_path / "run"])
  with pytest.raises(UserError, match="different runs"):
    rho_training.load(other, runs.Options())


def draw(module, data):
  from matplotlib.figure import Figure

  figure = Figure(module.size(data))
  module.draw(figure, data)
  return figure


def test_what_is_drawn_by_layer():
  pytest.importorskip("matplotlib")
  first = {"bn1": np.linspace(0.62, 1, 101), "bn2": np.ones(4)}
  data = {
    "one": rho_layers.RhoLayers(3, first),
    "two": rho_layers.RhoLayers(4, dict.fromkeys(first, np.full(2, 0.95))),
  }
  figure = draw(rho_layers, data)
  axes = figure.get_axes()
  assert len(axes) == 4
  ends = [line.get_segments() for line in axes[0].collections]
  np.testing.assert_allclose(ends[0][0][:, 1], [0.639, 0.981])
  np.testing.assert_allclose(ends[1][0][:, 1], [0.715, 0.905])
  np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [0.81, 1])
  # One scale for all, which holds the least rho; percents of each run.
  assert all(panel.get_ylim() == axes[0].get_ylim() for panel in axes)
  assert 0.5 < axes[0].get_ylim()[0] < 0.6
  for histogram in (axes[1], axes[3]):
    widths = [bar.get_width() for bar in histogram.patches]
    assert sum(widths) == pytest.approx(100)
  assert axes[0].get_title(loc="left") == "one, step 3"


def test_what_is_drawn_over_the_iterations():
  pytest.importorskip("matplotlib")
  moments = {
    "all": np.array([[1.0, 0.0], [0.9, 0.1]]),
    "bn1": np.array([[1.0, 0.0], [0.8, 0.2]]),
    "bn2": np.array([[1.0, 0.0], [0.7, 0.2]]),
  }
  data = {
    name: rho_training.RhoTraining(np.array([5, 10]), moments, ("bn2",))
    for name in ("one", "two")
  }
  first, second, third = draw(rho_training, data).get_axes()
  assert [line.get_label() for line in first.lines] == ["one", "two"]
  np.testing.assert_array_equal(
    first.lines[1].get_xydata(), [[5, 1], [10, 0.9]]
  )
  band = first.collections[0].get_paths()[0].vertices
  assert band[:, 1].min() == pytest.approx(0.8)
  assert band[:, 1].max() == pytest.approx(1.0)
  for axes in (second, third):
    (line,) = axes.lines
    assert line.get_label() == "bn2"
    np.testing.assert_array_equal(line.get_ydata(), [1, 0.7])
