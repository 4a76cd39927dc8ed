"""Figure: the rows of studies as bars, from the JSON that studies leave."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.report import style

HEADER = (
  "study",
  "scale",
  "setting",
  "label",
  "arm",
  "metric",
  "mean",
  "std",
  "values",
)
METRICS = ("rank-1", "mAP")
_AVERAGE = "average"


class Bar(NamedTuple):
  """One metric of one row, averaged over the targets.

  Attributes:
    row: number of the row in its study, from 0.
    study: name of the study.
    scale: "quick" or "full".
    setting: on which data.
    label: of the row.
    arm: what was run.
    metric: one of `METRICS`.
    mean: over seeds, in percent.
    std: sample deviation over seeds, None for one seed.
    values: of the seeds.
  """

  row: int
  study: str
  scale: str
  setting: str
  label: str
  arm: str
  metric: str
  mean: float
  std: float | None
  values: tuple[float, ...]


def load(path: pathlib.Path) -> list[Bar]:
  """Reads the JSON file of a study.

  Args:
    path: as `metabin repro` writes it.

  Returns:
    A bar for each row and metric that has been run.

  Raises:
    UserError: if the file is none of a study, or nothing of it has been run.
  """
  wrong = UserError(
    f"{path} is no table of a study; give the .json that `metabin repro` "
    "writes."
  )
  try:
    data = json.loads(path.read_bytes())
    bars = [
      Bar(
        number,
        data["study"],
        data["scale"],
        row["setting"],
        row["label"],
        row["arm"],
        metric,
        float(found["mean"]),
        None if found.get("std") is None else float(found["std"]),
        tuple(float(value) for value in found.get("values", ())),
      )
      for number, row in enumerate(data["rows"])
      for metric in METRICS
      if (found := _ours(row, metric)) is not None
    ]
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise wrong from error
  if not bars:
    raise UserError(
      f"no row of {path} has been run; run the study by `metabin repro`."
    )
  return bars


def rows(name: str, data: list[Bar]) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them; values by a space."""
  for bar in data:
    yield *bar[1:-1], " ".join(map(str, bar.values))


def size(data: Mapping[str, list[Bar]]) -> tuple[float, float]:
  """Width and height in inches."""
  lines = sum(len(_lines(bars)) for bars in _panels(data).values())
  return 7.0, 0.36 * lines + 0.8 * len(_panels(data)) + 0.4


def draw(figure: Any, data: Mapping[str, list[Bar]]) -> None:
  """A panel for each study and setting; error bars over seeds.

  A row with several seeds shows each as a dot.
  """
  panels = _panels(data)
  grid = figure.subplots(
    len(panels),
    1,
    squeeze=False,
    height_ratios=[len(_lines(bars)) + 1 for bars in panels.values()],
  )[:, 0]
  handles = {}
  for axes, (title, bars) in zip(grid, panels.items(), strict=True):
    lines = _lines(bars)
    rows_of_study = list(lines)
    for index, metric in enumerate(METRICS):
      chosen = [bar for bar in bars if bar.metric == metric]
      if not chosen:
        continue
      places = np.array([rows_of_study.index(bar.row) for bar in chosen])
      places = places + 0.38 * (index - 0.5)
      handles[metric] = axes.barh(
        places,
        [bar.mean for bar in chosen],
        0.36,
        xerr=[np.nan if bar.std is None else bar.std for bar in chosen],
        color=style.COLOURS[-1 - index],
        edgecolor=style.COLOURS[0],
        linewidth=0.6,
        hatch=style.HATCHES[index],
        error_kw={"linewidth": 1, "capsize": 2},
      )
      for place, bar in zip(places, chosen, strict=True):
        if len(bar.values) > 1:
          axes.plot(
            bar.values,
            [place] * len(bar.values),
            ".",
            color=style.COLOURS[0],
            markersize=4,
          )
    axes.set_yticks(range(len(lines)), list(lines.values()))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    axes.set_title(f"{title}: average over targets", loc="left")
  grid[-1].set_xlabel("%")
  figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)


def _ours(row: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
  """The result of a row, None if it was not run."""
  found = ((row.get("ours") or {}).get(_AVERAGE) or {}).get(metric)
  return found if found and found.get("mean") is not None else None


def _panels(data: Mapping[str, list[Bar]]) -> dict[str, list[Bar]]:
  """Bars by what stands above their panel."""
  panels: dict[str, list[Bar]] = {}
  studies = [(bars[0].study, bars[0].scale) for bars in data.values()]
  for file, bars in data.items():
    for bar in bars:
      title = f"{bar.study} ({bar.scale} scale), {bar.setting}"
      if studies.count((bar.study, bar.scale)) > 1:
        title = f"{title} [{file}]"
      panels.setdefault(title, []).append(bar)
  return panels


def _lines(bars: list[Bar]) -> dict[int, str]:
  """Number and label of the rows; two may have one label."""
  return {bar.row: bar.label for bar in bars}
