from __future__ import annotations

import json

import pytest

from metabin_jax.evaluation.table import Row, format_table, save_json, to_json


def summary(rank1, *, std=None, **counts):
  shares = {
    "rank-1": rank1,
    "rank-5": 0.75,
    "rank-10": 0.875,
    "mAP": 0.5,
    "mINP": 0.25,
  }
  got = dict(shares)
  if std is not None:
    got |= {f"{key}/std": std for key in shares} | {"folds": 10}
  return got | {"num_query": 8, "num_valid": 6} | counts


def test_table_by_hand():
  got = format_table(
    [
      Row("viper", "metabin", summary(0.5, std=0.0125)),
      Row("prid", "metabin", summary(0.25)),
    ]
  )
  rule = "-" * 7 + "  " + "-" * 7 + "  " + "  ".join(["-" * 10] * 5)
  assert got.splitlines() == [
    "target   method       rank-1      rank-5     rank-10         mAP"
    "        mINP  valid/queries  folds",
    f"{rule}  {'-' * 13}  {'-' * 5}",
    "viper    metabin  50.0 ± 1.2  75.0 ± 1.2  87.5 ± 1.2  50.0 ± 1.2"
    "  25.0 ± 1.2            6/8     10",
    "prid     metabin        25.0        75.0        87.5        50.0"
    "        25.0            6/8      1",
    f"{rule}  {'-' * 13}  {'-' * 5}",
    "average  metabin        37.5        75.0        87.5        50.0"
    "        25.0",
  ]


def test_one_target_has_no_average():
  got = format_table([("a", "m", summary(0.5)), ("a", "n", summary(0.25))])
  assert "average" not in got


def test_average_is_not_taken_over_other_targets_than_the_rest():
  rows = [
    ("a", "m", summary(0.5)),
    ("b", "m", summary(0.25)),
    ("b", "n", summary(0.75)),
  ]
  last_two = format_table(rows).splitlines()[-2:]
  assert last_two[0].split()[:3] == ["average", "m", "37.5"]
  assert last_two[1].split()[:4] == ["average", "n", "not", "run"]
  assert [entry["method"] for entry in to_json(rows)["average"]] == ["m"]


def test_a_missing_rank_shows_a_dash():
  lines = format_table([("a", "m", summary(0.5))], ranks=(1, 20)).splitlines()
  assert lines[-1].split()[2:4] == ["50.0", "-"]


def test_a_row_listed_twice_is_refused():
  with pytest.raises(ValueError, match="listed twice"):
    format_table([("a", "m", summary(0.5)), ("a", "m", summary(0.25))])


def test_json_has_the_same_numbers():
  rows = [("a", "m", summary(0.5, std=0.1)), ("b", "m", summary(0.25))]
  got = to_json(rows)
  assert got["results"][0] == {
    "target": "a",
    "method": "m",
    "ap": "interpolation-free",
    **summary(0.5, std=0.1),
  }
  assert got["results"][1]["folds"] == 1
  assert got["average"] == [
    {
      "method": "m",
      "targets": ["a", "b"],
      "rank-1": 0.375,
      "rank-5": 0.75,
      "rank-10": 0.875,
      "mAP": 0.5,
      "mINP": 0.25,
    }
  ]


def test_the_deviation_of_an_average_over_folds():
  """Of two independent means with deviations 0.3 and 0.4: 0.5 / 2."""
  rows = [("a", "m", summary(0.5, std=0.3)), ("b", "m", summary(0.25, std=0.4))]
  (average,) = to_json(rows)["average"]
  assert average["rank-1"] == 0.375
  assert average["rank-1/std"] == pytest.approx(0.25, rel=1e-15)
  last = format_table(rows, ranks=(1,)).splitlines()[-1]
  assert last.split()[2:5] == ["37.5", "±", "25.0"]


def with_rates(*rates, std=None):
  """A summary with rates of a ROC; None is one that is not available."""
  got = summary(0.5, std=std)
  for rate, share in rates:
    key = f"TPR@FPR={rate:g}"
    got[key] = share
    if std is not None:
      got[f"{key}/std"] = None if share is None else std
  return got


class TestRates:
  def test_columns_rise_and_show_what_is_not_available(self):
    # No row has a number for 1e-6: its column is left out.
    rates = (0.01, 0.5), (1e-5, None), (1e-6, None)
    rows = [
      ("a", "m", with_rates(*rates, std=0.1)),
      ("b", "m", with_rates((0.01, 0.25), (1e-3, 0.125), (1e-5, 0.0))),
      ("c", "m", summary(0.5)),
    ]
    heading, _, a, b, c, _, average = format_table(rows, ranks=()).splitlines()
    assert heading.split()[2:8] == [
      "mAP",
      "mINP",
      "TPR@1e-05",
      "TPR@0.001",
      "TPR@0.01",
      "valid/queries",
    ]
    assert a.split()[8:13] == ["n/a", "-", "50.0", "±", "10.0"]
    assert b.split()[4:7] == ["0.0", "12.5", "25.0"]
    assert c.split()[4:7] == ["-"] * 3
    assert average.split()[4:7] == ["-"] * 3

  def test_an_average_over_an_unknown_share_is_unknown(self):
    rows = [
      ("a", "m", with_rates((0.01, 0.5), (0.1, 0.5))),
      ("b", "m", with_rates((0.01, None), (0.1, 0.25))),
    ]
    last = format_table(rows).splitlines()[-1]
    assert last.split()[-2:] == ["n/a", "37.5"]
    (average,) = to_json(rows)["average"]
    assert average["TPR@FPR=0.01"] is None
    assert average["TPR@FPR=0.1"] == 0.375

  def test_json_has_null(self, tmp_path):
    rows = [("a", "m", with_rates((0.01, None), std=0.1))]
    save_json(tmp_path / "x.json", to_json(rows))
    assert '"TPR@FPR=0.01": null' in (tmp_path / "x.json").read_text()

  def test_pairs_are_counts_and_no_shares(self):
    row = summary(0.5, num_genuine=7, num_impostor=50)
    got = to_json([("a", "m", row), ("b", "m", row)])
    assert got["results"][0]["num_impostor"] == 50
    assert "num_impostor" not in got["average"][0]


class TestConventions:
  """Averages of two conventions must not stand in one column."""

  def other(self):
    row = summary(0.5)
    row["mAP (trapezoid)"] = row.pop("mAP")
    return row

  def test_the_heading_names_another_convention(self):
    heading = format_table([("a", "m", self.other())]).splitlines()[0]
    assert "mAP (trapezoid)" in heading
    assert heading.count("mAP") == 1

  def test_each_has_a_column_and_none_an_average_over_both(self):
    rows = [("a", "m", self.other()), ("b", "m", summary(0.5))]
    heading, _, a, b, _, average = format_table(rows, ranks=()).splitlines()
    assert heading.split()[2:6] == ["mAP", "mAP", "(trapezoid)", "mINP"]
    assert a.split()[2:4] == ["-", "50.0"]
    assert b.split()[2:4] == ["50.0", "-"]
    assert average.split()[2:4] == ["-", "-"]

  def test_json_names_it(self):
    got = to_json([("a", "m", self.other()), ("b", "m", summary(0.5))])
    conventions = [row["ap"] for row in got["results"]]
    assert conventions == ["trapezoid", "interpolation-free"]


def test_save_json_is_all_or_nothing(tmp_path):
  path = tmp_path / "table.json"
  data = to_json([("a", "m", summary(0.5))])
  save_json(path, data)
  assert json.loads(path.read_text()) == data
  with pytest.raises(ValueError, match="JSON"):
    save_json(path, {"mAP": float("nan")})
  assert json.loads(path.read_text()) == data
  assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]
