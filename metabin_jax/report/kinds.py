"""All kinds of figures, and how one is made of several runs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from metabin_jax.errors import UserError
from metabin_jax.report import (
  ablation_bars,
  embedding_map,
  figure_files,
  loss_curves,
  multilabel_shapes,
  rho_gradients,
  rho_layers,
  rho_training,
  runs,
  style,
)

# A module with HEADER, load(run, options), rows(name, data of one run),
# size(data by run) and draw(figure, data by run).
OF_RUNS: dict[str, Any] = {
  "rho-layers": rho_layers,
  "rho-training": rho_training,
  "rho-gradients": rho_gradients,
  "losses": loss_curves,
  "tsne": embedding_map,
  "multilabels": multilabel_shapes,
}
BARS = "bars"
ALL = "all"


class Output(NamedTuple):
  """Where figures go.

  Attributes:
    folder: made if missing.
    format: one of `style.FORMATS`.
  """

  folder: pathlib.Path
  format: str


def make(
  kind: str,
  found: Sequence[runs.Run],
  options: runs.Options,
  output: Output,
) -> list[pathlib.Path]:
  """Makes one figure of runs.

  Args:
    kind: a key of `OF_RUNS`.
    found: the runs, at least one.
    options: what was chosen.
    output: where to.

  Returns:
    The files: the figure, and its numbers as CSV beside it.

  Raises:
    UserError: if one of the runs does not allow it.
  """
  module = OF_RUNS[kind]
  data = {run.name: module.load(run, options) for run in found}
  return _write(kind, module, data, output)


def make_bars(
  studies: Sequence[pathlib.Path], output: Output
) -> list[pathlib.Path]:
  """Makes the bars of studies.

  Args:
    studies: JSON files of `metabin repro`, at least one.
    output: where to.

  Returns:
    The files.

  Raises:
    UserError: if a file is none of a study.
  """
  data = {str(path): ablation_bars.load(path) for path in studies}
  return _write(BARS, ablation_bars, data, output)


def make_all(
  found: Sequence[runs.Run],
  studies: Sequence[pathlib.Path],
  options: runs.Options,
  output: Output,
  say: Callable[[str], None],
) -> list[pathlib.Path]:
  """Makes every figure that the runs allow.

  Args:
    found: the runs.
    studies: JSON files of `metabin repro`.
    options: what was chosen.
    output: where to.
    say: gets a line about each run that a figure had to leave out, and why.

  Returns:
    The files.

  Raises:
    UserError: if there is no figure at all.
  """
  written = []
  for kind, module in OF_RUNS.items():
    data = {}
    for run in found:
      try:
        data[run.name] = module.load(run, options)
      except UserError as error:
        say(f"{kind} without {run.name}: {error}")
    if data:
      written += _write(kind, module, data, output)
  if studies:
    written += make_bars(studies, output)
  if not written:
    raise UserError("these runs allow no figure, see above; train a run first.")
  return written


def _write(
  kind: str, module: Any, data: Mapping[str, Any], output: Output
) -> list[pathlib.Path]:
  figure = output.folder / f"{kind}.{output.format}"
  table = output.folder / f"{kind}.csv"
  figure_files.save_rows(
    table,
    module.HEADER,
    (row for name, values in data.items() for row in module.rows(name, values)),
  )
  style.save_figure(
    figure, lambda empty: module.draw(empty, data), module.size(data)
  )
  return [figure, table]
