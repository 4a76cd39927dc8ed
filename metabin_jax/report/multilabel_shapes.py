"""Figure: how log soft multilabels of a site are distributed (MAR)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.data import batches, readers
from metabin_jax.data.pool import create_pool
from metabin_jax.errors import UserError
from metabin_jax.report import runs, style
from metabin_jax.runtime import experiment, scoring, site_memory

HEADER = ("run", "step", "view", "from", "to", "share", "normal")
# In standard deviations.
_EDGES = np.linspace(-4.0, 4.0, 41)


class Shapes(NamedTuple):
  """Standardized log multilabels of a site.

  Attributes:
    step: of the checkpoint.
    shares: {view: [40] share of all its numbers in each bin}.
    skewness: of all numbers together; 0 for a normal distribution.
    kurtosis: beyond the normal distribution's.
  """

  step: int
  shares: Mapping[int, np.ndarray]
  skewness: float
  kurtosis: float


def load(run: runs.Run, options: runs.Options) -> Shapes:
  """Looks at every image of the site.

  Args:
    run: of method "mar"; its site must still be there.
    options: `step` counts.

  Returns:
    The shapes: of each agent and camera view less their mean and over their
    deviation, all agents of a view together.

  Raises:
    UserError: if the run has no site, or an image cannot be read.
  """
  loaded = scoring.load_run(run.workdir, options.step)
  config = loaded.config
  if config.method != "mar":
    raise UserError(
      f"{run.workdir} is of method {config.method!r}, and only method 'mar' "
      "has a site and soft multilabels of it."
    )
  data = [readers.open_dataset(spec) for spec in config.data.unlabelled]
  site = create_pool([record for dataset in data for record in dataset.train])
  logs = site_memory.log_multilabels(
    config,
    loaded.network,
    loaded.variables,
    site.paths,
    experiment.create_mar_rules(config).scale,
  )
  views, _ = batches.number_views(site)
  return measure(loaded.step, logs.astype(np.float64), views)


def measure(step: int, logs: np.ndarray, views: np.ndarray) -> Shapes:
  """The shapes of log multilabels [N, K] with views [N]."""
  shares, everything = {}, []
  for view in np.unique(views):
    own = logs[views == view]
    std = own.std(axis=0)
    z = (own - own.mean(axis=0))[:, std > 0] / std[std > 0]
    if z.size:
      counts, _ = np.histogram(z, _EDGES)
      shares[int(view)] = counts / z.size
      everything.append(z.ravel())
  if not everything:
    raise UserError(
      "no camera view of the site has images that differ in their multilabels."
    )
  z = np.concatenate(everything)
  return Shapes(step, shares, float(np.mean(z**3)), float(np.mean(z**4) - 3.0))


def rows(name: str, data: Shapes) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them."""
  normal = _normal()
  for view, shares in data.shares.items():
    for place, share in enumerate(shares):
      low, high = _EDGES[place : place + 2]
      yield name, data.step, view, low, high, share, normal[place]


def size(data: Mapping[str, Shapes]) -> tuple[float, float]:
  """Width and height in inches."""
  return 6.0, 2.6 * len(data)


def draw(figure: Any, data: Mapping[str, Shapes]) -> None:
  """A line for each view, and the normal distribution, for each run.

  Source: MAR (CVPR 2019), supplement: log soft multilabels are close to normal,
    which the simplified Wasserstein distance takes for granted.
  """
  grid = figure.subplots(len(data), 1, squeeze=False, sharex=True)[:, 0]
  middle = (_EDGES[:-1] + _EDGES[1:]) / 2
  for axes, (name, found) in zip(grid, data.items(), strict=True):
    for number, (view, shares) in enumerate(found.shares.items()):
      axes.plot(
        middle,
        100 * shares,
        **style.series(number),
        linewidth=1,
        markevery=(number, 6),
        label=f"view {view}",
      )
    axes.plot(
      middle, 100 * _normal(), color="black", linestyle=":", label="normal"
    )
    axes.set_title(
      style.label(
        f"{name}, step {found.step}: skewness {found.skewness:.2f}, excess "
        f"kurtosis {found.kurtosis:.2f}"
      ),
      loc="left",
    )
    axes.set_ylabel("% of all agents\nand images")
  grid[-1].set_xlabel("log soft multilabel, in its deviations from its mean")
  grid[0].legend(ncols=2)


def _normal() -> np.ndarray:
  """Share of a normal distribution in each bin."""
  below = np.array([(1 + math.erf(edge / math.sqrt(2))) / 2 for edge in _EDGES])
  return np.diff(below)
