"""One page about one run: from its checkpoint and targets to HTML."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

from metabin_jax.data.records import DataSet
from metabin_jax.evaluation import settings
from metabin_jax.report import (
  embedding_map,
  figure_files,
  image_sections,
  page,
  results,
  run_sections,
  runs,
  score_sections,
  style,
)
from metabin_jax.runtime.scoring import LoadedRun


class Choices(NamedTuple):
  """What a user can choose.

  Attributes:
    queries: ranked lists of each kind and target, and activation maps.
    photos: whether the page may show photographs.
  """

  queries: int = 5
  photos: bool = True


def check_installed() -> None:
  """Refuses to begin without the packages of the extra `plots`.

  Raises:
    UserError: says how to install them.
  """
  style.check_installed()
  embedding_map.check_installed()


def versions() -> dict[str, str]:
  """Versions of the packages that draw, by package."""
  names = ("matplotlib", "scikit-learn", "pillow")
  return {name: metadata.version(name) for name in names}


def make(
  run: runs.Run,
  loaded: LoadedRun,
  config: Any,
  targets: Sequence[DataSet],
  notes: Sequence[str],
  versions: Mapping[str, str],
  choices: Choices,
) -> str:
  """Makes the page.

  Args:
    run: the run on disk.
    loaded: its checkpoint.
    config: its configuration, evaluation overridden where wanted.
    targets: checked data sets with folds.
    notes: what a reader of the scores must know, plain text.
    versions: of the program that makes the report, by package.
    choices: what was chosen.

  Returns:
    HTML. The same run, targets, choices and versions give the same text.

  Raises:
    UserError: if an image cannot be read or no query is valid.
  """
  found = results.evaluate_run(loaded, config, targets)
  evaluation = settings.describe(settings.from_config(config.eval))
  model = loaded.card["model"]
  lead = page.paragraph(
    f"{config.method}, {model['backbone']} of width {model['width']:g} with "
    f"norm layers {model['norm']!r}, checkpoint of step {loaded.step}. "
    f"Evaluation: {evaluation}."
  )
  sections = [
    score_sections.make_scores(run.name, found, config.eval.ranks, notes),
    score_sections.make_curves(found),
  ]
  if choices.photos:
    lead += page.paragraph(
      "This page shows photographs of persons; hand it on only as the terms of "
      "the data allow.",
      soft=True,
    )
    sections += image_sections.make_sections(
      found, loaded, config, choices.queries
    )
  else:
    sections += [
      image_sections.without_photos("lists", "Ranked lists"),
      image_sections.without_photos("maps", "Activation maps"),
    ]
  sections += [
    score_sections.make_map(found, loaded.step, config.eval.metric),
    run_sections.make_rho(run, loaded),
    run_sections.make_training(run),
    run_sections.make_about(run, loaded, versions),
  ]
  return page.make_page(f"Report on {run.name}", lead, sections)


def save(path: pathlib.Path, text: str) -> None:
  """Writes the page; the file is there in full or not at all."""

  def write(part: pathlib.Path) -> None:
    part.write_text(text, encoding="utf-8")

  figure_files.replace_file(path, write)
