"""The tables of docs/metrics.md: sums by hand, and what the library returns."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest

from metabin_jax.evaluation import ranking, single_shot, summary
from metabin_jax.evaluation.average_precision import average_precision

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "metrics.md"


def tables() -> list[list[list[str]]]:
  """Every table as rows of cells, the heading first."""
  text = PAGE.read_text(encoding="utf-8")
  found = []
  for block in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
    rows = [line.strip("| ").split(" | ") for line in block.splitlines()]
    found.append([rows[0], *rows[2:]])
  return found


def table(*heading: str, number: int = 0) -> list[list[str]]:
  matching = [
    rows for rows in tables() if rows[0][: len(heading)] == [*heading]
  ]
  return matching[number][1:]


def examples(of: str) -> list[list[str]]:
  """[name, by hand, value] of all tables about `of`."""
  return [
    row
    for rows in tables()
    if rows[0] == [of, "by hand", "value"]
    for row in rows[1:]
  ]


def example(*, all_queries: bool) -> tuple:
  """Distances and labels as the page has them."""
  _, distance, person, camera = zip(
    *table("image", "distance", "person", "camera"), strict=True
  )
  dist = [[float(number) for number in distance]]
  q_pid = ["a"]
  if all_queries:
    text = PAGE.read_text(encoding="utf-8")
    second = re.search(r"to the seven images are ([\d.,\s]+)\.", text)[1]
    dist += [[float(number) for number in second.split(",")], dist[0]]
    q_pid += ["b", "e"]
  cameras = [int(number) for number in camera]
  return np.array(dist), q_pid, [1] * len(q_pid), list(person), cameras


def value(cell: str) -> float | None:
  return None if cell == "n/a" else float(cell)


HEADINGS = (
  "metric of query 1",
  "metric",
  "metric of one match at rank 5",
)


@pytest.mark.parametrize("of", HEADINGS)
def test_the_sums_are_right(of):
  rows = examples(of)
  assert len(rows) >= 3
  for name, by_hand, result in rows:
    if result == "n/a":
      continue
    assert re.fullmatch(r"[\d\s+/().]+", by_hand), by_hand
    assert eval(by_hand) == pytest.approx(float(result), abs=6e-5), name


def test_every_example_is_looked_at():
  headings = {rows[0][0] for rows in tables() if rows[0][1:2] == ["by hand"]}
  assert headings == set(HEADINGS)


def test_query_1():
  example_of_one = example(all_queries=False)
  rates = (0.7, 0.5, 0.1)
  got = {}
  for convention in ("interpolation-free", "trapezoid", "mar"):
    ranked = ranking.rank_distances(*example_of_one, ap=convention, fprs=rates)
    got[f"AP, {convention}"] = ranked.ap[0]
  got["rank of the first match"] = ranked.first_rank[0]
  got["INP"] = ranked.inp[0]
  got |= {f"TPR@FPR={rate:g}": tpr for rate, tpr in ranked.roc.rates}
  dist, *labels = example_of_one
  curve = single_shot.single_shot_cmc(
    lambda start, stop: dist[start:stop].copy(), 1, *labels, trials=3000
  ).cmc
  for rank in (1, 2, 3):
    # Three standard deviations of a mean of 3,000 draws.
    got[f"expected rank-{rank}"] = pytest.approx(curve[rank - 1], abs=0.026)
  rows = {name: value(cell) for name, _, cell in examples("metric of query 1")}
  assert set(rows) == set(got)
  for name, number in rows.items():
    want = got[name]
    if not name.startswith("expected") and number is not None:
      want = pytest.approx(want, abs=6e-5)
    assert number == want, name


def test_means_over_the_queries():
  ranked = ranking.rank_distances(*example(all_queries=True))
  assert ranked.reason.tolist() == [0, 0, ranking.Reason.NO_MATCH]
  got = summary.summarize(ranked, ranks=(1, 2))
  rows = examples("metric")
  assert [row[0] for row in rows] == ["rank-1", "rank-2", "mAP", "mINP"]
  for name, _, cell in rows:
    assert float(cell) == pytest.approx(got[name], abs=6e-5), name


def test_one_match_at_rank_5():
  for name, _, cell in examples("metric of one match at rank 5"):
    convention = name.removeprefix("AP, ")
    assert float(cell) == average_precision(np.array([5]), convention)


def test_perfect_matcher():
  dist = 1.0 - np.eye(316)
  pid = np.arange(316)
  rows = table("rate", "TPR@FPR", "with the labels swapped")
  rates = [float(row[0]) for row in rows]
  ranked = ranking.rank_distances(
    dist, pid, [0] * 316, pid, [1] * 316, fprs=rates
  )
  assert ranked.roc.rates == tuple(
    (rate, float(row[1])) for rate, row in zip(rates, rows, strict=True)
  )
  for rate, row in zip(rates, rows, strict=True):
    assert swapped(np.diag(dist), dist[dist > 0], rate) == float(row[2])


def swapped(genuine, impostors, rate):
  """What evaluations with the two kinds of pairs swapped report."""
  # Without ties: the genuine pairs as ROC programs see them, one by one.
  genuine = genuine + np.linspace(0, 0.1, genuine.size)
  thresholds = np.r_[np.inf, np.unique(np.r_[genuine, impostors])[::-1]]
  fpr, tpr = (
    1 - np.searchsorted(np.sort(kind), thresholds) / kind.size
    for kind in (genuine, impostors)
  )
  return float(tpr[np.argmin(np.abs(fpr - rate))])


def test_memory_table_states_the_blocks_of_the_program():
  (cell,) = [row[1] for row in table("step") if row[0] == "distances"]
  assert f"{ranking._BLOCK_BYTES // 2**20} MiB" in cell
  assert f"{ranking._FEWEST_QUERIES} queries" in cell
