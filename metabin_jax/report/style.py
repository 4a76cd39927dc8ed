"""One look for all figures, which can be told apart in grey too."""

from __future__ import annotations

import html
import io
import pathlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from metabin_jax.errors import UserError
from metabin_jax.report import figure_files

if TYPE_CHECKING:
  from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
# Dark to light, so that the order survives printing in grey.
COLOURS = ("#1f2a63", "#a8352a", "#2f8a68", "#d98c21", "#8fbfe0")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
HATCHES = ("", "///")
_SETTINGS: dict[str, Any] = {
  "axes.axisbelow": True,
  "axes.grid": True,
  "axes.labelsize": 9,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "axes.titlesize": 9,
  "figure.constrained_layout.use": True,
  "font.size": 8,
  "grid.color": "0.88",
  "grid.linewidth": 0.6,
  "hatch.linewidth": 0.5,
  "legend.fontsize": 8,
  "legend.frameon": False,
  "lines.linewidth": 1.3,
  "lines.markersize": 4,
  "pdf.fonttype": 42,
  "savefig.dpi": 150,
  "svg.fonttype": "none",
  # Identifiers inside an SVG are random without it.
  "svg.hashsalt": "metabin_jax",
}
# What a figure is drawn with -> what a page shows in its place.
_PAGE_COLOURS = {
  "#000000": "currentColor",
  "#e0e0e0": "var(--grid)",  # grid.color
  **{colour: f"var(--series-{i})" for i, colour in enumerate(COLOURS)},
}
# Without dates, so that the same numbers give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
  "png": {"Software": None},
  "pdf": {"CreationDate": None},
  "svg": {"Date": None},
}


def check_installed() -> None:
  """Refuses to begin without Matplotlib.

  Raises:
    UserError: says how to install it.
  """
  try:
    import matplotlib  # noqa: F401
  except ImportError as error:
    raise not_installed("Matplotlib") from error


def not_installed(package: str) -> UserError:
  """The error for a missing package of the extra `plots`."""
  return UserError(
    f"{package} is not installed, and this figure needs it; run "
    "`pip install -e '.[plots]'` in the repository's folder."
  )


def series(index: int) -> dict[str, Any]:
  """Colour, line style and marker of the curve of this number, from 0."""
  # After five curves the line styles shift, so 25 pairs are distinct.
  turn, place = divmod(index, len(COLOURS))
  return {
    "color": COLOURS[place],
    "linestyle": LINES[(place + turn) % len(LINES)],
    "marker": MARKERS[(place + turn) % len(MARKERS)],
  }


def label(name: str) -> str:
  """A user's name as Matplotlib shows it, and not as markup.

  A dollar begins a formula there, and a leading underscore hides a curve.
  """
  name = name.replace("$", r"\$")
  return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def save_figure(
  path: pathlib.Path,
  draw: Callable[[Figure], None],
  size: tuple[float, float],
) -> None:
  """Draws a figure and writes it.

  Neither the user's Matplotlib settings nor a display play a part, and the
  same numbers give the same bytes (with one version of Matplotlib).

  Args:
    path: the file; its suffix is one of `FORMATS`.
    draw: puts axes and curves into an empty figure.
    size: width and height in inches.
  """
  import matplotlib.style
  from matplotlib.figure import Figure

  kind = path.suffix.removeprefix(".")
  with matplotlib.style.context(["default", _SETTINGS]):
    figure = Figure(figsize=size)
    draw(figure)
    figure_files.replace_file(
      path,
      lambda part: figure.savefig(part, format=kind, metadata=_METADATA[kind]),
    )


def inline_svg(
  name: str,
  label: str,
  draw: Callable[[Figure], None],
  size: tuple[float, float],
) -> str:
  """Draws a figure as an element of a page, in the page's own colours.

  Text and axes take the colour of the text around them, grid and curves the
  page's variables --grid and --series-0 to --series-4; the background is the
  page's.

  Args:
    name: of the figure, unique on the page: ids begin with it.
    label: what the figure shows, for readers who do not see it.
    draw: puts axes and curves into an empty figure.
    size: width and height in inches.

  Returns:
    <svg class="chart">, as wide as its place on the page, at most `size`.
  """
  import matplotlib.style
  from matplotlib.figure import Figure

  stream = io.StringIO()
  with matplotlib.style.context(["default", _SETTINGS]):
    figure = Figure(figsize=size)
    draw(figure)
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
  text = stream.getvalue()
  text = text[text.index("<svg") :]
  text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.S)
  text = re.sub(
    r"<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>",
    lambda found: (
      f'<svg class="chart" viewBox="{found[1]}" role="img" '
      f'aria-label="{html.escape(label)}" style="max-width:{size[0]}in">'
    ),
    text,
    count=1,
  )
  text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
  for colour, variable in _PAGE_COLOURS.items():
    text = text.replace(colour, variable)
  return text


def mark_layers(axes: Any, names: list[str]) -> None:
  """Labels an axis of layers, from 0; of many, about one in three or less."""
  every = max(1, -(-len(names) // 18))
  places = range(0, len(names), every)
  axes.set_xticks(
    places, [names[place] for place in places], rotation=90, fontsize=7
  )
  axes.set_xlim(-0.6, len(names) - 0.4)
