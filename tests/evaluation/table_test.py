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


def test_save_json_is_all_or_nothing(tmp_path):
  path = tmp_path / "table.json"
  data = to_json([("a", "m", summary(0.5))])
  save_json(path, data)
  assert json.loads(path.read_text()) == data
  with pytest.raises(ValueError, match="JSON"):
    save_json(path, {"mAP": float("nan")})
  assert json.loads(path.read_text()) == data
  assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]
