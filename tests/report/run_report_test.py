"""Reports on unusual runs and data: folds, odd names, few images, settings."""

from __future__ import annotations

import dataclasses
import re

import pytest
import tiny_run

from metabin_jax.data import readers
from metabin_jax.data.records import DataSet, Fold
from metabin_jax.report import run_report, run_sections, runs
from metabin_jax.runtime import scoring

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

NAME = "_a$b$<i>"


@pytest.fixture(name="run", scope="module")
def run_fixture():
  return runs.find_runs([tiny_run.finished()])[0]


@pytest.fixture(name="loaded", scope="module")
def loaded_fixture(run):
  return scoring.load_run(run.workdir)


@pytest.fixture(name="target", scope="module")
def target_fixture():
  """Two folds of different persons, cameras unknown, a name of markup."""
  whole = readers.open_dataset(f"manifest:{tiny_run.root()}/test.csv").folds[0]

  def part(name, wanted):
    query, gallery = (
      tuple(
        dataclasses.replace(record, camid=-1, pid=f"<b>{record.pid}")
        for record in records
        if record.pid[-1] in wanted
      )
      for records in (whole.query, whole.gallery)
    )
    return Fold(name, query, gallery)

  return DataSet(NAME, folds=(part("1<", "012"), part("2", "234")))


def make(run, loaded, target, **changes):
  config = scoring.override_eval(loaded.config, changes)
  choices = run_report.Choices(queries=2)
  return config, run_report.make(
    run, loaded, config, [target], ["a <note>"], {"x": "1"}, choices
  )


def section(page, anchor):
  return re.search(rf'<section id="{anchor}">.*?</section>', page, re.S)[0]


def test_folds_odd_names_and_few_images(run, loaded, target):
  config, page = make(run, loaded, target)
  results = section(page, "results")
  scores = scoring.score(config, loaded.network, loaded.variables, [target])
  whole = scores[NAME]
  for key in ("rank-1", "mAP"):
    shown = f"{100 * whole[key]:.1f} ± {100 * whole[f'{key}/std']:.1f}"
    assert f"<td>{shown}</td>" in results
  assert "<td>fold 1&lt;</td>" in results
  assert "<td>fold 2</td>" in results
  lists = section(page, "lists")
  # Two queries of each kind, six images in the gallery, two of them right.
  assert lists.count('class="item query"') == 6
  assert lists.count('class="item right"') == 12
  assert lists.count('class="item wrong"') == 24
  assert "camera unknown" in lists
  # Names are text: in HTML, and in figures, where a dollar is a formula.
  assert "<i>" not in page
  assert "<b>" not in re.sub("<b>(query|✓|✗|map)</b>", "", page)
  assert "a &lt;note&gt;" in results
  for anchor in ("curves", "map"):
    assert "_a$b$&lt;i&gt;" in section(page, anchor)


def test_lists_follow_the_settings(run, loaded, target):
  _, plain = make(run, loaded, target)
  _, reranked = make(
    run,
    loaded,
    target,
    rerank=True,
    rerank_k1=3,
    rerank_k2=2,
    adapt_bn="gallery",
    query_expansion=0,
  )
  pattern = r"</b> ([\d.]+) camera"
  assert re.findall(pattern, section(plain, "lists")) != re.findall(
    pattern, section(reranked, "lists")
  )
  assert "re-ranked k1=3 k2=2" in reranked
  assert "of the network as it was trained" in section(reranked, "maps")
  assert "of the network as it was trained" not in section(plain, "maps")
  _, adapted = make(
    run, loaded, target, adapt="bnta", bnta={"losses": ("match",)}
  )
  assert "of the network as it was trained" in section(adapted, "maps")
  assert "BNTA on the gallery moved bn" in adapted


def test_weights_of_others_are_shown_as_data(run, loaded):
  card = loaded.card | {
    "training": {
      "sources": [],
      "pretrained": None,
      "converted": {"origin": "a&b"},
    }
  }
  body = run_sections.make_about(run, loaded._replace(card=card), {}).body
  assert "Weights: converted" in body
  assert "&quot;origin&quot;: &quot;a&amp;b&quot;" in body
  assert "&amp;quot;" not in body
  assert "does not name its training data" in body
