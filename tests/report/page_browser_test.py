"""A report in headless Chromium: nothing asked for, nothing complained of.

Where Chromium is not installed this is skipped; page structure is tested in
tests/cli/report_command_test.py all the same.
"""

from __future__ import annotations

import io

import browser
import numpy as np
import pytest
import tiny_run
from PIL import Image

from metabin_jax.cli.main import main

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.skipif(
  browser.find() is None, reason="Chromium is not installed"
)

# Every figure has a place on the page, every photograph could be decoded, and
# only what may scroll by itself is wider than the page.
SCRIPT = """
({
  charts: [...document.querySelectorAll("svg.chart")].map(
    (e) => e.getBoundingClientRect().width * e.querySelectorAll("path").length),
  sections: [...document.querySelectorAll("section")].map((e) => e.id),
  photos: [...document.images].map((e) => e.naturalWidth),
  too_wide: [...document.querySelectorAll("body *")].filter(
    (e) => !e.closest(".wide, .row, pre") &&
      e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
  ).map((e) => e.outerHTML.slice(0, 80)),
  scrolls: document.documentElement.scrollWidth >
    document.documentElement.clientWidth,
  ink: getComputedStyle(document.body).color,
  text: document.querySelector("svg.chart text")
    && getComputedStyle(document.querySelector("svg.chart text")).fill,
})
"""


@pytest.fixture(name="page", scope="module")
def page_fixture(tmp_path_factory):
  out = tmp_path_factory.mktemp("report") / "page.html"
  assert main(["report", str(tiny_run.finished()), f"--out={out}"]) == 0
  return out


@pytest.fixture(name="opened", scope="module")
def opened_fixture():
  with browser.Browser() as found:
    yield found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_page(page, opened, width, dark):
  seen = opened.look(page, width, SCRIPT, dark=dark)
  assert seen.requests == []
  assert seen.console == []
  assert seen.value["sections"] == [
    *("results", "curves", "lists", "maps", "map", "rho", "training", "about")
  ]
  assert len(seen.value["charts"]) >= 11
  assert min(seen.value["charts"]) > 0
  assert len(seen.value["photos"]) == 15 * 11 + 5 * 4
  assert min(seen.value["photos"]) > 0
  assert seen.value["too_wide"] == []
  assert not seen.value["scrolls"]
  # The text of figures follows the page's, light on dark or dark on light.
  assert seen.value["text"] == seen.value["ink"]
  image = Image.open(io.BytesIO(seen.screenshot)).convert("L")
  assert image.width == width
  corner = int(np.asarray(image)[2, 2])
  assert corner < 60 if dark else corner > 200


def test_it_would_see_a_fault(tmp_path, opened):
  page = tmp_path / "bad.html"
  page.write_text(
    '<script>console.error("broken")</script>'
    '<img src="http://127.0.0.1:9/x.png">'
  )
  seen = opened.look(page, 1280, "1")
  assert seen.requests == ["http://127.0.0.1:9/x.png"]
  assert any("broken" in text for text in seen.console)
