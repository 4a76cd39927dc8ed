"""Two ways of scoring one run, against each other."""

from __future__ import annotations

import pytest

from metabin_jax.repro import changes, render, spread


def row(label, values, *, jobs=("a", "b"), evaluation=(), seeds=(1, 2)):
  ours = {
    target: {"mAP": spread.spread([*values])} for target in ("average", "x")
  }
  return {
    "label": label,
    "arm": "bn",
    "jobs": [*jobs],
    "seeds": [*seeds],
    "evaluation": [*evaluation],
    "ours": ours,
  }


OWN = row("none", (30.0, 50.0))
ADAPTED = row("adapted", (33.0, 52.0), evaluation=["BNTA"])


def test_run_by_run():
  other = row("none, another arm", (0.0, 0.0), jobs=("c", "d"))
  found = changes.against_own(ADAPTED, [other, OWN, ADAPTED])
  assert set(found) == {"average", "x"}
  assert found["x"]["mAP"]["values"] == pytest.approx([3.0, 2.0])
  assert found["x"]["mAP"]["mean"] == pytest.approx(2.5)
  # That of the differences, where the runs differ by 14.
  assert found["x"]["mAP"]["std"] == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
  ("one", "rows"),
  [
    (OWN, [OWN, ADAPTED]),
    (ADAPTED, [ADAPTED]),
    (ADAPTED, [row("none", (1.0, 2.0), jobs=("c", "d")), ADAPTED]),
    (ADAPTED, [row("none", (1.0,), seeds=(1,)), ADAPTED]),
  ],
)
def test_without_the_same_runs_there_is_no_difference(one, rows):
  assert changes.against_own(one, rows) == {}


def test_a_metric_of_one_alone_is_left_out():
  renamed = {**ADAPTED, "ours": {"average": {"mAP (mar)": {"values": [1, 2]}}}}
  assert changes.against_own(renamed, [OWN, renamed]) == {"average": {}}


def test_the_table():
  changed = {**ADAPTED, "change": changes.against_own(ADAPTED, [OWN, ADAPTED])}
  own = {**OWN, "change": {}}
  data = {"metrics": ["rank-1", "mAP"]}
  lines = render._changes([own, changed], data)
  assert lines[-1] == "| adapted | bn | - | +2.5 ± 0.7 (+3.0, +2.0) |"
  # Of one seed, without one; and numbers of before there were such.
  once = changes.against_own(
    row("adapted", (33.0,), jobs=("a",), evaluation=["BNTA"], seeds=(1,)),
    [row("none", (34.0,), jobs=("a",), seeds=(1,))],
  )
  lines = render._changes([{**ADAPTED, "change": once}], data)
  assert lines[-1] == "| adapted | bn | - | -1.0 |"
  assert render._changes([own, {"label": "old"}], data) == []


def test_nothing_has_no_minus():
  found = {"mean": -0.04, "std": 0.01, "values": [-0.03, -0.049, -0.06]}
  assert render._signed(found) == "+0.0 ± 0.0 (+0.0, +0.0, -0.1)"
