"""The figure of log soft multilabels: its numbers by hand, and a drawing."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_run

from metabin_jax.errors import UserError
from metabin_jax.report import multilabel_shapes, runs, style

RANDOM = np.random.default_rng(0)


def test_normal_numbers_have_the_normal_shape():
  """Whatever their means and deviations, by agent and view."""
  views = np.repeat([0, 1], 4000)
  spread = RANDOM.uniform(0.5, 4.0, (2, 6))[views]
  logs = RANDOM.normal(size=(8000, 6)) * spread - 7 * spread
  found = multilabel_shapes.measure(3, logs, views)
  assert found.step == 3
  assert set(found.shares) == {0, 1}
  rows = list(multilabel_shapes.rows("a", found))
  assert len(rows) == 2 * 40
  for _, _, _, low, high, share, normal in rows:
    assert high - low == pytest.approx(0.2)
    assert share == pytest.approx(normal, abs=0.004)
  assert sum(row[-1] for row in rows[:40]) == pytest.approx(1, abs=1e-4)
  assert abs(found.skewness) < 0.05
  assert abs(found.kurtosis) < 0.1


def test_other_shapes_are_told_apart():
  logs = -RANDOM.exponential(size=(5000, 3))
  found = multilabel_shapes.measure(0, logs, np.zeros(5000, int))
  assert found.skewness == pytest.approx(-2, abs=0.3)
  assert found.kurtosis > 3


def test_a_view_that_does_not_vary_is_left_out():
  logs = np.log([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]])
  found = multilabel_shapes.measure(0, logs, np.array([4, 4, 7, 7]))
  assert set(found.shares) == {4}
  with pytest.raises(UserError, match="no camera view"):
    multilabel_shapes.measure(0, logs[2:], np.array([7, 7]))


def test_runs_without_a_site_are_refused():
  workdir = tiny_run.finished(*tiny_run.BASELINE)
  (run,) = runs.find_runs([workdir])
  with pytest.raises(UserError, match="only method 'mar' has a site"):
    multilabel_shapes.load(run, runs.Options())


def test_it_is_drawn(tmp_path):
  views = np.arange(60) % 7  # more than there are colours
  data = {
    name: multilabel_shapes.measure(1, RANDOM.normal(size=(60, 4)), views)
    for name in ("one", "other")
  }
  file = tmp_path / "a.png"
  looks = set()

  def draw(figure):
    multilabel_shapes.draw(figure, data)
    for line in figure.axes[0].lines:
      looks.add((line.get_color(), line.get_linestyle()))

  style.save_figure(file, draw, multilabel_shapes.size(data))
  assert file.stat().st_size > 10_000
  assert len(looks) == 7 + 1  # each view, and the normal distribution
