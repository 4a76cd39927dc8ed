"""Figure: how rho is distributed in each layer of trained networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.report import layer_names, runs, style
from metabin_jax.runtime import scoring

HEADER = ("run", "step", "layer", "channel", "rho")
_BINS = 20


class RhoLayers(NamedTuple):
  """Every rho of a checkpoint.

  Attributes:
    step: of the checkpoint.
    rho: {layer: float32 [C]}, in the order of the forward pass.
  """

  step: int
  rho: Mapping[str, np.ndarray]


def load(run: runs.Run, options: runs.Options) -> RhoLayers:
  """Reads a checkpoint.

  Args:
    run: the run.
    options: `step` counts.

  Returns:
    Every rho.

  Raises:
    UserError: if there is no such checkpoint, or no rho in it.
  """
  loaded = scoring.load_run(run.workdir, options.step)
  return RhoLayers(loaded.step, layer_names.rho_of(loaded, run.workdir))


def rows(name: str, data: RhoLayers) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them."""
  for layer, values in data.rho.items():
    for channel, rho in enumerate(values):
      yield name, data.step, layer, channel, rho


def size(data: Mapping[str, RhoLayers]) -> tuple[float, float]:
  """Width and height in inches."""
  labels = sum(_labelled(data).values())
  return 8.0, 2.0 * len(data) + 1.0 * labels


def draw(figure: Any, data: Mapping[str, RhoLayers]) -> None:
  """Percentiles by layer, and a histogram of all channels, for each run.

  Source: MetaBIN, Fig. 4 (histograms of the balancing parameters).
  """
  grid = figure.subplots(
    len(data), 2, squeeze=False, sharey=True, width_ratios=(3, 1)
  )
  # One scale for all runs; young runs would be a line on the scale of 0 to 1.
  least = min(v.min() for found in data.values() for v in found.rho.values())
  bottom = min(0.9, np.floor(10 * least) / 10)
  labelled = _labelled(data)
  for pair, (name, found) in zip(grid, data.items(), strict=True):
    _draw_layers(pair[0], found)
    pair[0].set_ylim(bottom - 0.02 * (1 - bottom), 1 + 0.02 * (1 - bottom))
    pair[0].set_title(style.label(f"{name}, step {found.step}"), loc="left")
    pair[0].tick_params(labelbottom=labelled[name])
    everything = np.concatenate(list(found.rho.values()))
    pair[1].hist(
      everything,
      np.linspace(bottom, 1, _BINS + 1),
      weights=np.full(everything.size, 100 / everything.size),
      orientation="horizontal",
      color=style.COLOURS[4],
      edgecolor=style.COLOURS[0],
    )
    pair[1].set_title(
      f"mean {everything.mean():.3f}, std {everything.std():.3f}",
      loc="left",
    )
  grid[-1, 1].set_xlabel("% of all channels")
  figure.legend(
    *grid[0, 0].get_legend_handles_labels(),
    loc="outside upper center",
    ncols=3,
  )


def _draw_layers(axes: Any, found: RhoLayers) -> None:
  places = np.arange(len(found.rho))
  low, lower, upper, high = np.stack(
    [np.percentile(v, (5, 25, 75, 95)) for v in found.rho.values()], -1
  )
  dark, bright = style.COLOURS[0], style.COLOURS[3]
  axes.vlines(places, low, high, color=dark, linewidth=1, label="5 to 95 %")
  axes.vlines(places, lower, upper, color=dark, linewidth=5, label="25 to 75 %")
  axes.plot(
    [values.mean() for values in found.rho.values()],
    color=bright,
    marker="D",
    markersize=3,
    linestyle=":",
    label="mean over channels",
  )
  axes.set_ylabel("rho\n(1 batch, 0 instance)")
  style.mark_layers(axes, list(found.rho))


def _labelled(data: Mapping[str, RhoLayers]) -> dict[str, bool]:
  """Whether the layers' names stand below a run: not if the next has them."""
  names = [tuple(found.rho) for found in data.values()]
  below = [*names[1:], ()]
  return {
    run: mine != other
    for run, mine, other in zip(data, names, below, strict=True)
  }
