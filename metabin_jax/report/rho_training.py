"""Figure: how mean and deviation of rho move during training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.report import layer_names, runs, style
from metabin_jax.runtime import experiment, metric_writer, resolve

HEADER = ("run", "step", "layer", "mean", "std")
ALL = "all"
_SHOWN = 5


class RhoTraining(NamedTuple):
  """Rho over the iterations of a run.

  Attributes:
    steps: int [T] iterations.
    moments: {layer: float [T, 2]} mean and standard deviation over channels;
      `ALL` comes first, the layers follow in the order of the forward pass.
    shown: layers to draw.
  """

  steps: np.ndarray
  moments: Mapping[str, np.ndarray]
  shown: tuple[str, ...]


def load(run: runs.Run, options: runs.Options) -> RhoTraining:
  """Reads the metrics of a run.

  Args:
    run: the run.
    options: `layers` counts.

  Returns:
    All that the metrics say about rho.

  Raises:
    UserError: if they say nothing, or a layer is unknown.
  """
  lines = [
    line
    for line in metric_writer.load_metrics(run.workdir)
    if "rho/mean" in line
  ]
  if not lines:
    raise UserError(
      f"{run.workdir} has written no rho to its metrics; give a run whose "
      "layers have one, e.g. with --config.model.norm=bin."
    )
  order = _order(run, lines[0])
  unknown = [name for name in options.layers if name not in order]
  if unknown:
    raise UserError(
      f"{run.workdir} has no layer {unknown[0]!r} with a rho; its layers are "
      f"{', '.join(order)}."
    )
  moments = {
    name: np.array(
      [[line[f"{prefix}/mean"], line[f"{prefix}/std"]] for line in lines]
    )
    for name, prefix in [(ALL, "rho"), *((n, f"rho/{n}") for n in order)]
  }
  spread = np.linspace(0, len(order) - 1, min(_SHOWN, len(order)))
  shown = options.layers or tuple(order[round(i)] for i in spread)
  return RhoTraining(np.array([line["step"] for line in lines]), moments, shown)


def rows(name: str, data: RhoTraining) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them; all layers."""
  for layer, values in data.moments.items():
    for step, (mean, std) in zip(data.steps, values, strict=True):
      yield name, step, layer, mean, std


def size(data: Mapping[str, RhoTraining]) -> tuple[float, float]:
  """Width and height in inches."""
  return 7.0, 2.4 * (1 + len(data))


def draw(figure: Any, data: Mapping[str, RhoTraining]) -> None:
  """All layers of all runs in one panel, chosen layers in one for each run."""
  first, *others = figure.subplots(1 + len(data), 1, squeeze=False)[:, 0]
  for index, (name, found) in enumerate(data.items()):
    look = style.series(index)
    mean, std = found.moments[ALL].T
    first.plot(
      found.steps, mean, label=style.label(name), **look, markevery=0.1
    )
    first.fill_between(
      found.steps, mean - std, mean + std, color=look["color"], alpha=0.15
    )
  first.set_title("all layers: mean and deviation over channels", loc="left")
  for axes, (name, found) in zip(others, data.items(), strict=True):
    for index, layer in enumerate(found.shown):
      mean = found.moments[layer][:, 0]
      axes.plot(
        found.steps, mean, label=layer, **style.series(index), markevery=0.1
      )
    axes.set_title(style.label(f"{name}: mean of chosen layers"), loc="left")
  for axes in (first, *others):
    axes.set_ylabel("rho")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
  (others or [first])[-1].set_xlabel("iteration")


def _order(run: runs.Run, line: Mapping[str, Any]) -> list[str]:
  """Layers of the metrics, as an image meets them."""
  config = resolve.resolve(resolve.from_dict(run.description["config"]))
  network = experiment.create_network(config, run.description["num_classes"])
  order = layer_names.forward_order(
    network, config.data.height_px, config.data.width_px
  )
  written = {
    found[1] for key in line if (found := re.fullmatch("rho/(.+)/mean", key))
  }
  if written != set(order):
    raise UserError(
      f"the metrics of {run.workdir} have other layers than its run.json says; "
      "they are of different runs."
    )
  return order
