"""Figure: which way each meta-train loss pulls rho, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax.data import array_source, readers
from metabin_jax.errors import UserError
from metabin_jax.methods import objectives
from metabin_jax.models import ReIDNetwork
from metabin_jax.report import layer_names, runs, style
from metabin_jax.runtime import experiment, scoring

HEADER = (
  "run",
  "step",
  "batches",
  "loss",
  "layer",
  "channel",
  "mean",
  "size",
  "positive",
)


class ChannelGradients(NamedTuple):
  """Gradients of one loss with respect to the rho of one layer.

  Attributes:
    mean: float32 [C] over batches.
    size: float32 [C] mean of the absolute value over batches.
    positive: float32 [C] share of batches with a gradient above 0, in [0, 1];
      there a gradient step lowers rho, towards instance normalization.
  """

  mean: np.ndarray
  size: np.ndarray
  positive: np.ndarray


class RhoGradients(NamedTuple):
  """What the figure shows of one run.

  Attributes:
    step: of the checkpoint.
    batches: number of batches.
    gradients: {loss: {layer: gradients}}, layers in the order of the forward
      pass.
  """

  step: int
  batches: int
  gradients: Mapping[str, Mapping[str, ChannelGradients]]


def rho_gradients(
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  parts: Mapping[str, objectives.Objective],
  batches: Iterable[Any],
) -> dict[str, dict[str, ChannelGradients]]:
  """Gradients of several losses with respect to every rho, over batches.

  Args:
    network: from `models.create`, with a rho.
    variables: {"params", "balance", "batch_stats"}; they stay as they are.
    parts: an objective for each loss, by name; its total is differentiated.
    batches: at least one, of one size, with `image` uint8 [B, H, W, 3], `pid`
      [B] and `domain` [B]. Statistics are the batch's own, as in a meta step.

  Returns:
    {loss: {layer: gradients}}.

  Raises:
    ValueError: without a batch.

  Source: MetaBIN, Eq. 6 (the gradient of the inner step), one loss at a time,
    as in Fig. 5.
  """

  @jax.jit
  def gradients(balance, batch):
    def losses_of(balance):
      outputs: Any = network.apply(
        {**variables, "balance": balance}, batch.image, mode="hold"
      )
      return jnp.stack([part(outputs, batch)[0] for part in parts.values()])

    # One forward pass, then one backward pass for each loss, in turn: with all
    # at once memory would grow with the number of losses.
    values, pull_back = jax.vjp(losses_of, balance)
    rows = jnp.eye(len(parts), dtype=values.dtype)
    return jax.lax.map(lambda row: pull_back(row)[0], rows)

  found = [
    jax.device_get(gradients(variables["balance"], batch)) for batch in batches
  ]
  if not found:
    raise ValueError("there is no batch to take gradients on.")
  # Leaves [batches, losses, C].
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
  return {
    name: {
      layer: ChannelGradients(
        values[:, index].mean(0),
        np.abs(values[:, index]).mean(0),
        (values[:, index] > 0).mean(0, dtype=np.float32),
      )
      for layer, values in layer_names.by_layer(stacked).items()
    }
    for index, name in enumerate(parts)
  }


def load(run: runs.Run, options: runs.Options) -> RhoGradients:
  """Takes gradients at a checkpoint, on the batches that the run meets next.

  Args:
    run: the run; its sources must still be there.
    options: `step`, `batches` and `losses` count.

  Returns:
    The gradients of the unweighted losses.

  Raises:
    UserError: if the run has no rho or no meta-train batches, its sources have
      changed, or a loss is unknown.
  """
  loaded = scoring.load_run(run.workdir, options.step)
  config = loaded.config
  order = list(layer_names.rho_of(loaded, run.workdir))
  names = options.losses or tuple(config.loss.mtrain)
  # "snr" is the loss of layers that no network with rho has.
  known = [name for name in objectives.NAMES if name != "snr"]
  unknown = [name for name in names if name not in known]
  if unknown:
    raise UserError(
      f"there is no loss {unknown[0]!r} of a network with rho; losses are "
      f"{', '.join(known)}."
    )
  batches = _meta_train_batches(run, config, loaded.step, options.batches)
  gradients = rho_gradients(
    loaded.network,
    loaded.variables,
    {name: _unweighted(config, name) for name in names},
    batches,
  )
  return RhoGradients(
    loaded.step,
    options.batches,
    {
      loss: {layer: found[layer] for layer in order}
      for loss, found in gradients.items()
    },
  )


def rows(name: str, data: RhoGradients) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them."""
  for loss, by_layer in data.gradients.items():
    for layer, found in by_layer.items():
      for channel, values in enumerate(zip(*found, strict=True)):
        yield name, data.step, data.batches, loss, layer, channel, *values


def size(data: Mapping[str, RhoGradients]) -> tuple[float, float]:
  """Width and height in inches."""
  return 8.0, 5.4 * len(data)


def draw(figure: Any, data: Mapping[str, RhoGradients]) -> None:
  """Mean, size and share of positive signs by layer, for each run.

  Source: MetaBIN, Fig. 5.
  """
  grid = figure.subplots(3 * len(data), 1, squeeze=False)[:, 0]
  for number, (name, found) in enumerate(data.items()):
    mean, magnitude, positive = grid[3 * number : 3 * number + 3]
    for index, (loss, by_layer) in enumerate(found.gradients.items()):
      look = style.series(index)
      for axes, part in (
        (mean, np.array([g.mean.mean() for g in by_layer.values()])),
        (magnitude, np.array([g.size.mean() for g in by_layer.values()])),
        (
          positive,
          np.array([100 * g.positive.mean() for g in by_layer.values()]),
        ),
      ):
        axes.plot(part, label=loss, **look)
    _scale_by_decades(mean)
    mean.axhline(0, color="0.3", linewidth=0.8)
    mean.set_ylabel("mean of\nd loss / d rho")
    mean.set_title(
      f"{name}, step {found.step}: {found.batches} meta-train batches, all "
      "channels;\nabove 0 a step lowers rho, towards instance normalization",
      loc="left",
    )
    mean.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    if any((line.get_ydata() > 0).any() for line in magnitude.lines):
      magnitude.set_yscale("log")
    magnitude.set_ylabel("mean of the\nabsolute value")
    positive.axhline(50, color="0.3", linewidth=0.8)
    positive.set_ylim(-3, 103)
    positive.set_ylabel("% above 0")
    names = list(next(iter(found.gradients.values())))
    for axes in (mean, magnitude, positive):
      style.mark_layers(axes, names)
    for axes in (mean, magnitude):
      axes.tick_params(labelbottom=False)


def _scale_by_decades(axes: Any) -> None:
  """Logarithmic above and below 0: losses differ by orders of magnitude."""
  values = np.concatenate([line.get_ydata() for line in axes.lines])
  sizes = np.abs(values[values != 0])
  if not sizes.size:
    return
  # Nine in ten are beyond the linear part around 0.
  first = np.floor(np.log10(np.percentile(sizes, 10)))
  last = np.floor(np.log10(sizes.max()))
  axes.set_yscale("symlog", linthresh=10.0**first)
  every = max(1, (last - first) // 3)
  ticks = 10.0 ** np.arange(last, first, -every)
  ticks = np.concatenate([-ticks, [0.0], ticks])
  low, high = values.min(), values.max()
  axes.set_yticks(ticks[(ticks >= min(low, 0)) & (ticks <= max(high, 0))])
  axes.minorticks_off()


def _meta_train_batches(
  run: runs.Run, config: Any, step: int, count: int
) -> Iterator[Any]:
  """Meta-train batches of the iterations from `step` on."""
  sources = [readers.open_dataset(spec) for spec in config.data.sources]
  records = [record for source in sources for record in source.train]
  if experiment.fingerprint(records) != run.description["data_sha256"]:
    raise UserError(
      f"the sources of {run.workdir} hold other images or labels than it was "
      "trained on; restore them to draw its gradients."
    )
  plan = experiment.create_plan(config, records)
  if plan.meta is None:
    raise UserError(
      f"{run.workdir} was trained by method {config.method!r}, which has no "
      "meta-train batches; give a run with a meta step, e.g. --config.method="
      "metabin."
    )
  source = array_source.ArraySource(
    plan, workers=config.data.workers or None, cache_images=False
  )
  for iteration in source.iterate(step, step + count):
    yield iteration.mtrain


def _unweighted(config: Any, name: str) -> objectives.Objective:
  """One loss with the run's settings of it, but with weight 1."""
  objective = experiment.create_objective(config, (name,))

  def alone(outputs, batch):
    parts = objective(outputs, batch)[1]
    return parts[name], parts

  return alone
