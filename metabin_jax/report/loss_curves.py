"""Figure: the losses of runs during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.report import runs, style
from metabin_jax.runtime import metric_writer

HEADER = ("run", "step", "loss", "value")
_PHASES = {"loss": "base", "mtrain": "meta-train", "mtest": "meta-test"}
_TOTAL = "total"
_COLUMNS = 3

# {loss: float [T, 2]} iteration and value
Losses = Mapping[str, np.ndarray]


def load(run: runs.Run, options: runs.Options) -> Losses:
  """Reads the metrics of a run.

  Args:
    run: the run.
    options: none counts.

  Returns:
    {"loss/ce": float [T, 2], ...} iteration and value; a value that was not
    finite is left out.

  Raises:
    UserError: if the run has written none.
  """
  curves: dict[str, list[tuple[float, float]]] = {}
  for line in metric_writer.load_metrics(run.workdir):
    for name, value in line.items():
      if name.partition("/")[0] in _PHASES and value is not None:
        curves.setdefault(name, []).append((line["step"], value))
  if not curves:
    raise UserError(
      f"{run.workdir} has written no losses to its metrics yet; train on, or "
      "with a smaller train.log_every_steps."
    )
  return {name: np.array(points) for name, points in curves.items()}


def rows(name: str, data: Losses) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them."""
  for loss, points in data.items():
    for step, value in points:
      yield name, int(step), loss, value


def panels(data: Mapping[str, Losses]) -> list[str]:
  """The losses to draw, by phase.

  A phase's total comes last, and not at all if it has only one part.
  """
  found = sorted({loss for losses in data.values() for loss in losses})
  shown = []
  for phase in _PHASES:
    total = f"{phase}/{_TOTAL}"
    parts = [
      loss for loss in found if loss.startswith(f"{phase}/") and loss != total
    ]
    shown += parts
    if total in found and len(parts) != 1:
      shown.append(total)
  return shown


def title(loss: str) -> str:
  """Phase and name of a loss: "meta-test: triplet" for "mtest/triplet"."""
  phase, _, part = loss.partition("/")
  return f"{_PHASES[phase]}: {part}"


def size(data: Mapping[str, Losses]) -> tuple[float, float]:
  """Width and height in inches."""
  return 8.0, 2.0 * -(-len(panels(data)) // _COLUMNS) + 0.5


def draw(figure: Any, data: Mapping[str, Losses]) -> None:
  """A panel for each loss, a curve in it for each run that has it."""
  names = panels(data)
  lines = -(-len(names) // _COLUMNS)
  grid = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
  for axes in grid[len(names) :]:
    axes.remove()
  handles = {}
  for axes, loss in zip(grid, names, strict=False):
    for index, (name, losses) in enumerate(data.items()):
      if loss in losses:
        (handles[style.label(name)],) = axes.plot(
          *losses[loss].T, **style.series(index), markevery=0.12
        )
    axes.set_title(title(loss), loc="left")
  for axes in grid[max(0, len(names) - _COLUMNS) : len(names)]:
    axes.set_xlabel("iteration")
  figure.legend(handles.values(), handles, loc="outside upper center", ncols=4)
