"""Loss curves: what is read and which panels there are."""

from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.report import loss_curves, runs
from metabin_jax.runtime.metric_writer import MetricWriter


def make_run(folder, *lines):
  with MetricWriter(folder, tensorboard=False) as writer:
    for step, line in lines:
      writer.write(step, line)
  return runs.Run("mine", folder, {})


def test_losses_alone_are_read(tmp_path):
  run = make_run(
    tmp_path,
    (2, {"loss/ce": 3.0, "lr": 0.1, "rho/mean": 1.0, "mtrain/total": 4.0}),
    (4, {"loss/ce": 2.5, "lr": 0.1, "rho/mean": 1.0, "mtrain/total": 1.0}),
  )
  data = loss_curves.load(run, runs.Options())
  assert set(data) == {"loss/ce", "mtrain/total"}
  np.testing.assert_array_equal(data["loss/ce"], [[2, 3], [4, 2.5]])
  assert sorted(loss_curves.rows("mine", data)) == [
    ("mine", 2, "loss/ce", 3.0),
    ("mine", 2, "mtrain/total", 4.0),
    ("mine", 4, "loss/ce", 2.5),
    ("mine", 4, "mtrain/total", 1.0),
  ]


def test_what_is_not_finite_is_left_out(tmp_path):
  run = make_run(
    tmp_path, (1, {"loss/ce": float("nan")}), (2, {"loss/ce": 1.0})
  )
  data = loss_curves.load(run, runs.Options())
  np.testing.assert_array_equal(data["loss/ce"], [[2, 1]])


def test_a_run_without_losses_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"no losses"):
    loss_curves.load(make_run(tmp_path), runs.Options())


def losses(*names):
  return {name: np.array([[1.0, 2.0]]) for name in names}


def test_panels_by_phase_and_totals_only_of_sums():
  data = {
    "bn": losses("loss/triplet", "loss/total", "loss/ce"),
    "metabin": losses(
      "mtrain/triplet",
      "mtrain/total",
      "mtrain/scatter",
      "mtest/triplet",
      "mtest/total",
      "loss/ce",
    ),
  }
  assert loss_curves.panels(data) == [
    "loss/ce",
    "loss/triplet",
    "loss/total",
    "mtrain/scatter",
    "mtrain/triplet",
    "mtrain/total",
    "mtest/triplet",
  ]


def test_what_is_drawn():
  pytest.importorskip("matplotlib")
  from matplotlib.figure import Figure

  data = {
    "bn": losses("loss/ce"),
    "metabin": losses("loss/ce", "mtest/triplet"),
  }
  figure = Figure(loss_curves.size(data))
  loss_curves.draw(figure, data)
  titles = {
    axes.get_title(loc="left"): len(axes.lines) for axes in figure.get_axes()
  }
  assert titles == {"base: ce": 2, "meta-test: triplet": 1}
  shown = [text.get_text() for text in figure.legends[0].get_texts()]
  assert shown == ["bn", "metabin"]
