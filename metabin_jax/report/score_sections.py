"""Parts of a report: the scores, their curves, and the map of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.evaluation import table
from metabin_jax.report import curves, embedding_map, page, style
from metabin_jax.report.embedding_map import EmbeddingMap
from metabin_jax.report.page import Section
from metabin_jax.report.results import Result


def make_scores(
  name: str,
  results: Sequence[Result],
  ranks: Sequence[int],
  notes: Sequence[str],
) -> Section:
  """The table of `metabin evaluate`, and every fold.

  Args:
    name: of the run.
    results: one for each target.
    ranks: k of the columns rank-k.
    notes: what stands below the table: plain text, a paragraph each.
  """
  rows = [table.Row(r.target.name, name, r.whole) for r in results]
  parts = [
    page.paragraph(
      "In percent; of several folds the mean and the standard deviation over "
      "the folds."
    ),
    page.table(*table.cells(rows, ranks)),
    *(page.paragraph(note, soft=True) for note in notes),
  ]
  for result in results:
    if len(result.folds) > 1:
      heading, lines, _ = table.cells(
        [
          table.Row(result.target.name, f"fold {fold.fold.name}", scores)
          for fold, scores in zip(result.folds, result.summaries, strict=True)
        ],
        ranks,
      )
      parts.append(
        page.details(
          f"{result.target.name}: all {len(lines)} folds",
          # Without the column of the number of folds.
          page.table(
            [heading[0], "fold", *heading[2:-1]],
            [line[:-1] for line in lines],
          ),
        )
      )
  return Section("results", "Results", "\n".join(parts))


def make_curves(results: Sequence[Result]) -> Section:
  """CMC and ROC of all targets."""
  rankings = {
    result.target.name: [fold.ranking for fold in result.folds]
    for result in results
  }
  cmc = style.inline_svg(
    "cmc",
    "Cumulative matching characteristic",
    lambda empty: curves.draw_cmc(empty, rankings),
    curves.SIZE,
  )
  figures = [
    page.figure(
      cmc,
      "CMC: share of the queries with a match among the first k gallery "
      "images. Faint: single folds.",
    )
  ]
  with_roc = {
    name: folds
    for name, folds in rankings.items()
    if all(r.roc is not None and (r.roc.fpr > 0).any() for r in folds)
  }
  if with_roc:
    roc = style.inline_svg(
      "roc",
      "Receiver operating characteristic",
      lambda empty: curves.draw_roc(empty, with_roc),
      curves.SIZE,
    )
    figures.append(
      page.figure(
        roc,
        "ROC: share of the genuine pairs accepted, by the share of the "
        "impostor pairs accepted with them; a line for each fold.",
      )
    )
  body = f'<div class="charts">{"".join(figures)}</div>'
  missing = [name for name in rankings if name not in with_roc]
  if missing:
    body += page.paragraph(
      f"No ROC curve of {', '.join(missing)}: too few pairs.",
      soft=True,
    )
  return Section("curves", "CMC and ROC", body)


def make_map(results: Sequence[Result], step: int, metric: str) -> Section:
  """t-SNE of the first fold of every target."""
  try:
    found = _lay_out(results, step, metric)
  except UserError as error:
    return Section("map", "t-SNE", page.paragraph(error))
  data = {"all targets": found}
  drawn = style.inline_svg(
    "tsne",
    "t-SNE of the embeddings",
    lambda empty: embedding_map.draw(empty, data),
    (6.0, 6.0),
  )
  caption = (
    "Embeddings in the plane; filled: queries, open: gallery. Of each target "
    f"the first fold, and whole persons up to {embedding_map.MAX_IMAGES} "
    "images. Distances between far groups mean little."
  )
  return Section("map", "t-SNE", page.figure(drawn, caption))


def _lay_out(results: Sequence[Result], step: int, metric: str) -> EmbeddingMap:
  embeddings, labels = [], []
  for result in results:
    ranked = result.folds[0]
    chosen = embedding_map.choose(ranked.fold, embedding_map.MAX_IMAGES)
    kept = {record.pid for record in (*chosen.query, *chosen.gallery)}
    fold = ranked.fold
    for role, records, rows in zip(
      embedding_map.ROLES,
      (fold.query, fold.gallery),
      (ranked.query, ranked.gallery),
      strict=True,
    ):
      for record, row in zip(records, rows, strict=True):
        if record.pid in kept:
          embeddings.append(row)
          labels.append((result.target.name, role, record.pid))
  return embedding_map.make_map(step, labels, np.stack(embeddings), metric)
