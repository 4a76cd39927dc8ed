"""Bars of studies: what is read of their JSON and drawn."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.report import ablation_bars


def score(*values):
  std = float(np.std(values, ddof=1)) if len(values) > 1 else None
  return {"mean": float(np.mean(values)), "std": std, "values": list(values)}


STUDY = {
  "study": "table2",
  "scale": "quick",
  "rows": [
    {
      "label": "CE",
      "arm": "metabin_ce",
      "setting": "dg",
      "ours": {"average": {"rank-1": score(30.0, 34.0), "mAP": score(40.0)}},
      "published": {"average": {"rank-1": 58.0}},
    },
    {
      "label": "CE",
      "arm": "metabin",
      "setting": "dg",
      "ours": {"average": {"rank-1": score(50.0), "mAP": score(60.0)}},
    },
    {"label": "later", "arm": "x", "setting": "dg", "ours": None},
    {"label": "quoted", "arm": None, "setting": "dg", "ours": {}},
    {
      "label": "CE",
      "arm": "metabin_ce",
      "setting": "supervised",
      "ours": {"average": {"rank-1": score(70.0)}},
    },
  ],
}


def save(tmp_path, data):
  path = tmp_path / "table2.json"
  path.write_text(json.dumps(data))
  return path


def test_what_was_run_is_read(tmp_path):
  bars = ablation_bars.load(save(tmp_path, STUDY))
  assert list(ablation_bars.rows("", bars)) == [
    (
      "table2",
      "quick",
      "dg",
      "CE",
      "metabin_ce",
      "rank-1",
      32.0,
      8**0.5,
      "30.0 34.0",
    ),
    ("table2", "quick", "dg", "CE", "metabin_ce", "mAP", 40.0, None, "40.0"),
    ("table2", "quick", "dg", "CE", "metabin", "rank-1", 50.0, None, "50.0"),
    ("table2", "quick", "dg", "CE", "metabin", "mAP", 60.0, None, "60.0"),
    (
      "table2",
      "quick",
      "supervised",
      "CE",
      "metabin_ce",
      "rank-1",
      70.0,
      None,
      "70.0",
    ),
  ]


@pytest.mark.parametrize(
  "break_it",
  [
    lambda study: study.pop("study"),
    lambda study: study.pop("rows"),
    lambda study: study.update(rows=[3]),
    lambda study: study["rows"][0].pop("label"),
    lambda study: study["rows"][0].update(ours=[1]),
    lambda study: study["rows"][0]["ours"]["average"]["mAP"].update(mean="x"),
  ],
)
def test_other_files_are_refused(tmp_path, break_it):
  study = copy.deepcopy(STUDY)
  break_it(study)
  with pytest.raises(UserError, match="no table of a study"):
    ablation_bars.load(save(tmp_path, study))


def test_a_missing_or_broken_file_is_refused(tmp_path):
  with pytest.raises(UserError, match="no table of a study"):
    ablation_bars.load(tmp_path / "none.json")
  path = tmp_path / "half.json"
  path.write_text('{"study": ')
  with pytest.raises(UserError, match="no table of a study"):
    ablation_bars.load(path)


def test_a_study_that_was_not_run_is_refused(tmp_path):
  study = STUDY | {"rows": STUDY["rows"][2:4]}
  with pytest.raises(UserError, match=r"no row of .* has been run"):
    ablation_bars.load(save(tmp_path, study))


def test_two_files_of_one_study_have_panels_of_their_own(tmp_path):
  pytest.importorskip("matplotlib")
  from matplotlib.figure import Figure

  bars = ablation_bars.load(save(tmp_path, STUDY))
  data = {"a.json": bars, "b.json": bars}
  figure = Figure(ablation_bars.size(data))
  ablation_bars.draw(figure, data)
  panels = figure.get_axes()
  assert [len(axes.patches) for axes in panels] == [4, 1, 4, 1]
  titles = [axes.get_title(loc="left") for axes in panels]
  assert ["[a.json]" in title for title in titles] == [True, True, False, False]


def test_what_is_drawn(tmp_path):
  pytest.importorskip("matplotlib")
  from matplotlib.figure import Figure

  data = {"table2": ablation_bars.load(save(tmp_path, STUDY))}
  figure = Figure(ablation_bars.size(data))
  ablation_bars.draw(figure, data)
  first, second = figure.get_axes()
  widths = [bar.get_width() for bar in first.patches]
  assert widths == [32.0, 50.0, 40.0, 60.0]
  hatches = [bar.get_hatch() for bar in first.patches]
  assert hatches[0] == hatches[1] != hatches[2]
  # One error bar, from deviation; two dots, of the two seeds.
  segments = [s for c in first.collections for s in c.get_segments()]
  finite = [s for s in segments if s.size and np.isfinite(s).all()]
  assert len(finite) == 1
  np.testing.assert_allclose(finite[0][:, 0], [32 - 8**0.5, 32 + 8**0.5])
  dots = [tuple(line.get_xdata()) for line in first.lines]
  assert (30.0, 34.0) in dots
  labels = [text.get_text() for text in first.get_yticklabels()]
  assert labels == ["CE", "CE"], "rows of one label stay apart"
  centres = [bar.get_y() + bar.get_height() / 2 for bar in first.patches]
  np.testing.assert_allclose(centres, [-0.19, 0.81, 0.19, 1.19])
  assert first.yaxis_inverted()
  assert second.get_title(loc="left").startswith(
    "table2 (quick scale), supervised"
  )
