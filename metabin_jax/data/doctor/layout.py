"""Lines and columns of the reports."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

_WIDTH = 88


def number_of(count: int, word: str) -> str:
  """Says "no problems", "1 problem", "2 problems"."""
  return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def extent(values: Iterable[int]) -> str:
  """Says "3", or "3 to 7", for numbers of which there is at least one."""
  values = list(values)
  least, most = min(values), max(values)
  return str(least) if least == most else f"{least} to {most}"


def wrap(text: str, bullet: str = "") -> list[str]:
  """Breaks a sentence into lines below each other; paths stay whole."""
  return textwrap.wrap(
    text,
    _WIDTH,
    initial_indent=f"  {bullet}",
    subsequent_indent=" " * (2 + len(bullet)),
    break_long_words=False,
    break_on_hyphens=False,
  )


def set_table(rows: Iterable[Sequence[str]]) -> list[str]:
  """Sets cells in columns, words to the left and numbers to the right.

  Args:
    rows: the headings, then rows of the same length.
  """
  columns = list(zip(*rows, strict=True))
  return [
    f"  {'  '.join(line)}".rstrip()
    for line in zip(*map(_set_column, columns), strict=True)
  ]


def _set_column(cells: Sequence[str]) -> list[str]:
  width = max(map(len, cells))
  # "3" and "12/12/14" are numbers; a column with any other cell is words.
  if all(cell.replace("/", "").isdecimal() for cell in cells[1:]):
    return [cell.rjust(width) for cell in cells]
  return [cell.ljust(width) for cell in cells]
