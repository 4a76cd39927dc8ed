"""One HTML file that needs nothing else: no network, no script, no font.

A Content-Security-Policy inside the page forbids what it does not need, so
that a browser, too, would refuse to fetch anything.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark;
  --text: #1c1e21; --soft: #5b616b; --page: #ffffff; --card: #f5f6f8;
  --grid: #d9dce1; --right: #1a7f4b; --wrong: #c0392b;
  --series-0: #1f2a63; --series-1: #a8352a; --series-2: #2f8a68;
  --series-3: #d98c21; --series-4: #8fbfe0; }
@media (prefers-color-scheme: dark) { :root {
  --text: #e6e8eb; --soft: #a3a9b3; --page: #14161a; --card: #1e2127;
  --grid: #3a3f48; --right: #4cc38a; --wrong: #ff7b6b;
  --series-0: #9db2ff; --series-1: #ff8f80; --series-2: #63d2a5;
  --series-3: #f0b35c; --series-4: #4d8db8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--text);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p, li { max-width: 46rem; margin: .4rem 0; }
a { color: inherit; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; font-size: .9rem; }
.soft { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
.wide > svg { min-width: 44rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .9rem; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.average td { font-weight: 600; }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.small { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
figure { margin: 0; }
figcaption { font-size: .9rem; max-width: 46rem; }
.chart { display: block; width: 100%; height: auto; }
.chart * { stroke-linejoin: round; stroke-linecap: butt; }
.chart text { fill: currentColor; }
.list { margin: .8rem 0; padding: .6rem; background: var(--card);
  border-radius: .5rem; }
.list p { margin: 0 0 .4rem; font-size: .9rem; max-width: none; }
.row { display: flex; gap: .4rem; overflow-x: auto; padding-bottom: .3rem; }
.item { flex: none; width: 4.6rem; font-size: .75rem; line-height: 1.3; }
.item img { display: block; width: 100%; height: auto; border-radius: .25rem;
  border: 3px solid var(--grid); }
.item.right img { border-color: var(--right); }
.item.wrong img { border-color: var(--wrong); border-style: dashed; }
.right b { color: var(--right); } .wrong b { color: var(--wrong); }
.query { margin-right: .6rem; }
pre { overflow-x: auto; font-size: .8rem; background: var(--card);
  padding: .6rem; border-radius: .5rem; }
summary { cursor: pointer; }
"""


class Section(NamedTuple):
  """A part of a page.

  Attributes:
    anchor: its id, letters only.
    title: heading, plain text.
    body: HTML.
  """

  anchor: str
  title: str
  body: str


def make_page(title: str, lead: str, sections: Sequence[Section]) -> str:
  """Puts a page together.

  Args:
    title: plain text.
    lead: HTML below the title.
    sections: the parts.

  Returns:
    The whole HTML document.
  """
  links = "".join(
    f'<a href="#{section.anchor}">{text(section.title)}</a>'
    for section in sections
  )
  parts = "".join(
    f'<section id="{section.anchor}"><h2>{text(section.title)}</h2>\n'
    f"{section.body}\n</section>\n"
    for section in sections
  )
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f'<link rel="icon" href="data:,">\n<title>{text(title)}</title>\n'
    f"<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n"
    f"<h1>{text(title)}</h1>\n{lead}\n<nav>{links}</nav>\n</header>\n"
    f"<main>\n{parts}</main>\n</body>\n</html>\n"
  )


def text(value: object) -> str:
  """Plain text as HTML."""
  return html.escape(str(value))


def paragraph(value: object, soft: bool = False) -> str:
  """A paragraph of plain text; a soft one stands back."""
  kind = ' class="soft"' if soft else ""
  return f"<p{kind}>{text(value)}</p>"


def table(
  heading: Sequence[str],
  lines: Iterable[Sequence[str]],
  averages: Iterable[Sequence[str]] = (),
) -> str:
  """A table of plain text; what is too wide for the page scrolls by itself."""

  def row(cells: Sequence[str], tag: str, kind: str = "") -> str:
    inside = "".join(f"<{tag}>{text(cell)}</{tag}>" for cell in cells)
    return f"<tr{kind}>{inside}</tr>"

  return (
    f'<div class="wide"><table><thead>{row(heading, "th")}</thead><tbody>'
    + "".join(row(line, "td") for line in lines)
    + "".join(row(line, "td", ' class="average"') for line in averages)
    + "</tbody></table></div>"
  )


def figure(drawn: str, caption: str) -> str:
  """A figure, HTML, with its caption, plain text."""
  return f"<figure>{drawn}<figcaption>{text(caption)}</figcaption></figure>"


def details(title: str, body: str) -> str:
  """Something that a click opens."""
  return f"<details><summary>{text(title)}</summary>{body}</details>"
