"""`metabin report`: what is on the page, and that it needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.report import run_sections, runs

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

SECTIONS = ("results", "curves", "lists", "maps", "map", "rho", "training")


@pytest.fixture(name="page", scope="module")
def page_fixture(tmp_path_factory):
  out = tmp_path_factory.mktemp("report") / "new" / "page.html"
  assert main(["report", str(tiny_run.finished()), f"--out={out}"]) == 0
  return out.read_text(encoding="utf-8")


class Elements(HTMLParser):
  """Every element of a page as (tag, attributes)."""

  def __init__(self, text):
    super().__init__()
    self.found, self.open = [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))
    if tag not in ("meta", "link", "img", "br"):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def section(page, anchor):
  return re.search(rf'<section id="{anchor}">.*?</section>', page, re.S)[0]


def test_elements_are_closed_and_named_once(page):
  elements = Elements(page)
  assert elements.open == []
  ids = [found["id"] for _, found in elements.found if "id" in found]
  assert len(ids) == len(set(ids))
  links = {found["href"][1:] for tag, found in elements.found if tag == "a"}
  assert links == {*SECTIONS, "about"} <= set(ids)


def test_nothing_is_fetched(page):
  for tag, found in Elements(page).found:
    assert tag not in ("script", "iframe", "object", "embed")
    for name in ("src", "href", "xlink:href"):
      place = found.get(name, "#")
      assert place.startswith(("#", "data:")), (tag, place)
    assert "url(http" not in found.get("style", "")
  assert "@import" not in page
  assert "default-src 'none'" in page


def test_the_scores_are_those_of_evaluate(page, tmp_path):
  run = str(tiny_run.finished())
  assert main(["evaluate", run, f"--json={tmp_path / 'x.json'}"]) == 0
  (row,) = json.loads((tmp_path / "x.json").read_text())["results"]
  results = section(page, "results")
  for key in ("rank-1", "rank-5", "rank-10", "mAP", "mINP"):
    assert f"<td>{100 * row[key]:.1f}</td>" in results
  assert f"<td>{row['num_valid']}/{row['num_query']}</td>" in results
  assert "protocol=own" in results


def test_ranked_lists(page):
  lists = section(page, "lists")
  assert re.findall("<p>(Queries drawn|Worst|Best)", lists) == [
    "Queries drawn",
    "Worst",
    "Best",
  ]
  # Five queries of each kind, before all ten images of the gallery.
  assert lists.count('class="item query"') == 15
  assert lists.count('class="item right"') == 15 * 2
  assert lists.count('class="item wrong"') == 15 * 8
  assert lists.count("data:image/jpeg;base64,") == 15 * 11
  shares = [
    float(found) for found in re.findall(r"average precision (\S+) %", lists)
  ]
  assert shares[5:10] == sorted(shares[5:10])
  assert shares[10:] == sorted(shares[10:], reverse=True)


def test_figures(page):
  assert section(page, "maps").count("<img") == 5 * 4
  for anchor, charts in (("curves", 2), ("map", 1), ("rho", 2)):
    assert section(page, anchor).count('<svg class="chart"') == charts
  assert section(page, "training").count('<svg class="chart"') >= 6
  # In the page's colours only.
  drawn = re.findall(r'<svg class="chart".*?</svg>', page, re.S)
  assert not re.findall("#[0-9a-f]{6}", "".join(drawn))


def test_about(page):
  about = section(page, "about")
  description = json.loads((tiny_run.finished() / "run.json").read_text())
  assert f"<td>{description['versions']['jax']}</td>" in about
  assert "&quot;backbone&quot;: &quot;resnet18&quot;" in about
  assert f"images; {'no terms known'}" in about


def test_without_photos(capsys):
  run = tiny_run.finished()
  capsys.readouterr()
  assert main(["report", str(run), "--no-photos"]) == 0
  assert capsys.readouterr().out == f"{run / 'report.html'}\n"
  page = (run / "report.html").read_text()
  assert "data:image" not in page
  assert "photographs" not in page
  assert section(page, "lists").count("without photos") == 1
  assert section(page, "maps").count("without photos") == 1
  (run / "report.html").unlink()


def test_what_a_run_lacks_is_said(tmp_path):
  run = runs.Run("a", tmp_path, {})
  config = SimpleNamespace(model=SimpleNamespace(norm="bn"))
  loaded = SimpleNamespace(variables={"balance": {}}, config=config)
  rho = run_sections.make_rho(run, loaded)
  assert "has no rho, since its norm layers are &#x27;bn&#x27;" in rho.body
  assert "no losses to its metrics yet" in run_sections.make_training(run).body


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (["--step=99"], "99"),
    (["--queries=0"], "0 is no such number; write a whole number from 1"),
    (["--target=manifest:none.csv"], "none.csv"),
  ],
)
def test_mistakes_leave_no_file(tmp_path, capsys, options, message):
  out = tmp_path / "page.html"
  argv = ["report", str(tiny_run.finished()), f"--out={out}", *options]
  assert main(argv) == 2
  assert message in capsys.readouterr().err
  assert not out.exists()


def test_no_run(tmp_path, capsys):
  assert main(["report", str(tmp_path)]) == 2
  assert "holds no run" in capsys.readouterr().err


def test_the_same_run_gives_the_same_page(page, tmp_path):
  out = tmp_path / "again.html"
  assert main(["report", str(tiny_run.finished()), f"--out={out}"]) == 0
  assert out.read_text(encoding="utf-8") == page
