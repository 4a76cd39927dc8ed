"""Parts of a report about the run itself: rho, training, what it was."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from metabin_jax.errors import UserError
from metabin_jax.report import (
  curves,
  layer_names,
  loss_curves,
  page,
  rho_layers,
  rho_training,
  runs,
  style,
)
from metabin_jax.report.page import Section
from metabin_jax.report.rho_layers import RhoLayers
from metabin_jax.runtime.scoring import LoadedRun


def make_rho(run: runs.Run, loaded: LoadedRun) -> Section:
  """rho in each layer, and over the iterations."""
  parts = [
    page.paragraph(
      "rho balances each channel: 1 is batch normalization, 0 is instance "
      "normalization."
    ),
    _or_why(lambda: _rho_layers(run, loaded)),
  ]
  if loaded.variables["balance"]:
    parts.append(_or_why(lambda: _rho_training(run)))
  return Section("rho", "rho in each layer", "\n".join(parts))


def make_training(run: runs.Run) -> Section:
  """A small figure for each loss."""
  return Section("training", "Training curves", _or_why(lambda: _losses(run)))


def make_about(
  run: runs.Run, loaded: LoadedRun, versions: Mapping[str, str]
) -> Section:
  """Training data and their terms, versions, the whole configuration.

  Args:
    run: the run.
    loaded: its checkpoint.
    versions: of the program that makes the report.
  """
  description = run.description
  card = loaded.card
  parts = ["<h3>Training data</h3>"]
  sources = card["training"]["sources"]
  for source in sources:
    notes = "; ".join([source["terms"] or "no terms known", *source["notes"]])
    labels = ", without their labels" if "labels" in source else ""
    parts.append(
      page.paragraph(
        f"{source['name']}: {source['images']} images{labels}; {notes}"
      )
    )
  if not sources:
    parts.append(page.paragraph("The run does not name its training data."))
  for key in ("pretrained", "converted"):
    if card["training"][key]:
      record = f"<pre>{_json(card['training'][key])}</pre>"
      parts.append(page.details(f"Weights: {key}", record))
  trained = description.get("versions", {})
  names = list(dict.fromkeys([*trained, *versions]))
  parts += [
    "<h3>Versions</h3>",
    page.table(
      ["package", "", "run", "report"],
      [[n, "", trained.get(n, ""), versions.get(n, "")] for n in names],
    ),
    "<h3>The run</h3>",
    page.paragraph(f"command: {description.get('command', 'not known')}"),
    page.paragraph(f"commit: {description.get('commit') or 'not known'}"),
    page.paragraph(f"device: {description.get('device', 'not known')}"),
    page.paragraph(f"sha256 of the weights: {card['model']['sha256']}"),
    page.details("Configuration", f"<pre>{_json(description['config'])}</pre>"),
    page.details("Card of the network", f"<pre>{_json(card)}</pre>"),
  ]
  return Section("about", "Data, configuration, versions", "\n".join(parts))


def _rho_layers(run: runs.Run, loaded: LoadedRun) -> str:
  rho = layer_names.rho_of(loaded, run.workdir)
  data = {run.name: RhoLayers(loaded.step, rho)}
  drawn = style.inline_svg(
    "rho",
    "rho in each layer",
    lambda empty: rho_layers.draw(empty, data),
    (9.0, 4.0),
  )
  return page.figure(
    f'<div class="wide">{drawn}</div>',
    "Left: layers in the order of the forward pass. Right: all channels.",
  )


def _rho_training(run: runs.Run) -> str:
  data = {run.name: rho_training.load(run, runs.Options())}
  drawn = style.inline_svg(
    "rho-training",
    "rho over the iterations",
    lambda empty: rho_training.draw(empty, data),
    (9.0, 4.4),
  )
  return page.figure(f'<div class="wide">{drawn}</div>', "rho over training.")


def _losses(run: runs.Run) -> str:
  losses = loss_curves.load(run, runs.Options())
  figures = []
  for name in loss_curves.panels({run.name: losses}):
    drawn = style.inline_svg(
      name.replace("/", "-"),
      loss_curves.title(name),
      functools.partial(curves.draw_loss, points=losses[name]),
      curves.SMALL,
    )
    figures.append(page.figure(drawn, loss_curves.title(name)))
  return f'<div class="charts small">{"".join(figures)}</div>'


def _or_why(make: Callable[[], str]) -> str:
  """HTML, or why a run does not allow it."""
  try:
    return make()
  except UserError as error:
    return page.paragraph(error)


def _json(data: Any) -> str:
  return page.text(json.dumps(data, indent=1, ensure_ascii=False))
