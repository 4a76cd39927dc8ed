"""Of the pairs that a run has mined, those of one person."""

from __future__ import annotations

import json

import pytest

from metabin_jax.repro import collect, mined_pairs, render


def line(step, pairs, positives, true_pairs, true_positives):
  counts = {
    "pairs": pairs,
    "positives": positives,
    "true_pairs": true_pairs,
    "true_positives": true_positives,
  }
  return {"step": step, **{f"mining/{k}": v for k, v in counts.items()}}


def write(folder, lines):
  path = folder / "metrics.jsonl"
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  return path


def test_the_first_and_the_last_quarter_of_what_mined(tmp_path):
  still = [line(1, 0, 0, 0, 0), line(2, 0, 0, 0, 0)]
  mining = [line(3 + n, 10, n, 5, min(n, 2)) for n in range(9)]
  found = mined_pairs.count(write(tmp_path, still + mining))
  # Two of nine: positives 0, 1 and 7, 8.
  assert found == {
    "first quarter": {
      "pairs": 20,
      "positives": 1,
      "true_pairs": 10,
      "true_positives": 1,
    },
    "last quarter": {
      "pairs": 20,
      "positives": 15,
      "true_pairs": 10,
      "true_positives": 4,
    },
  }


def test_one_line_is_both_quarters(tmp_path):
  found = mined_pairs.count(write(tmp_path, [line(1, 4, 3, 2, 1)]))
  assert found["first quarter"] == found["last quarter"]


@pytest.mark.parametrize(
  "lines",
  [
    [],
    [{"step": 1, "loss/total": 1.0}],
    [line(1, 0, 0, 0, 0)],
    # Persons are not known; a number was not finite.
    [{"step": 1, "mining/pairs": 4, "mining/positives": 2}],
    [line(1, 4, None, 2, 1)],
  ],
)
def test_without_mining_there_is_nothing(tmp_path, lines):
  assert mined_pairs.count(write(tmp_path, lines)) is None


def test_shares():
  counts = {"pairs": 20, "positives": 8, "true_pairs": 5, "true_positives": 2}
  found = mined_pairs.shares(counts)
  assert tuple(found) == mined_pairs.SHARES
  assert found == {
    "positive": 40.0,
    "true positive": 25.0,
    "true negative": 75.0,
    "one person": 25.0,
  }


def test_a_share_of_nothing_is_none():
  counts = {"pairs": 3, "positives": 3, "true_pairs": 1, "true_positives": 1}
  assert mined_pairs.shares(counts)["true negative"] is None
  counts |= {"positives": 0, "true_positives": 0}
  assert mined_pairs.shares(counts)["true positive"] is None


def result(*counts):
  names = ("pairs", "positives", "true_pairs", "true_positives")
  one = dict(zip(names, counts, strict=True))
  return {"mined_pairs": dict.fromkeys(mined_pairs.STAGES, one)}


def test_over_the_seeds():
  found = collect._mined_pairs([result(10, 5, 4, 1), result(10, 5, 4, 3), {}])
  for stage in mined_pairs.STAGES:
    assert found[stage]["true positive"]["values"] == [20.0, 60.0]
    assert found[stage]["true positive"]["mean"] == 40.0
  assert collect._mined_pairs([{}, {"mined_pairs": None}]) == {}
  # A share that one seed does not have is not the others' mean.
  missing = collect._mined_pairs([result(10, 0, 4, 0), result(10, 5, 4, 3)])
  assert missing["last quarter"]["true positive"] is None


def test_the_table():
  found = collect._mined_pairs([result(10, 10, 4, 1)])
  row = {"label": "MAR", "jobs": ["a"], "mined_pairs": found}
  same = {"label": "MAR, BNTA", "jobs": ["a"], "mined_pairs": found}
  none = {"label": "BN", "jobs": ["b"], "mined_pairs": {}}
  lines = render._mined([row, same, none])
  assert lines[-2:] == [
    "| MAR | first quarter | 100.0 | 10.0 | - | 40.0 |",
    "| MAR | last quarter | 100.0 | 10.0 | - | 40.0 |",
  ]
  assert render._mined([none, {"label": "old", "jobs": ["c"]}]) == []
