"""Parts of a report that show photographs: ranked lists, activation maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metabin_jax.data.images import load_image
from metabin_jax.data.records import Record
from metabin_jax.evaluation import evaluate, ranked_lists, settings
from metabin_jax.evaluation.evaluate import RankedFold
from metabin_jax.evaluation.ranked_lists import RankedList
from metabin_jax.report import activation_maps, page
from metabin_jax.report.page import Section
from metabin_jax.report.photos import inline_photo
from metabin_jax.report.results import Result
from metabin_jax.runtime.scoring import LoadedRun

_FIRST = 10
_KINDS = {
  ranked_lists.RANDOM: "Queries drawn at random",
  ranked_lists.WORST: "Worst queries (least average precision first)",
  ranked_lists.BEST: "Best queries (highest average precision first)",
}
_LISTS_LEAD = (
  "The query, then the first ten gallery images, nearest first, with their "
  "distances. Solid frame and \N{CHECK MARK}: the query's person; dashed frame "
  "and \N{BALLOT X}: another. Images of the person from the query's own camera "
  "are left out where the scores leave them out. Worst and best are extremes: "
  "judge the network by the table and the random queries. Of several folds, "
  "the first."
)
_MAPS_LEAD = (
  "Random queries and the first image found for each, beside each the length "
  "of the last feature map's vectors: dark where it is least, yellow where it "
  "is greatest in that image. It shows where the network responds, not why it "
  "decides."
)


# Of one target: for each kind of query, the lists of those that were chosen.
_Lists = Mapping[str, Sequence[RankedList]]


def make_sections(
  results: Sequence[Result], run: LoadedRun, config: Any, number: int
) -> list[Section]:
  """Ranked lists and activation maps.

  Args:
    results: one for each target.
    run: the network.
    config: resolved configuration that the results were made with.
    number: queries of each kind and target.

  Returns:
    Lists of random, worst and best queries; and maps of the random ones and
    the first image found for each.
  """
  lists = [_list_first(result.folds[0], config, number) for result in results]
  return [_lists(results, lists, config), _maps(results, lists, run, config)]


def _lists(
  results: Sequence[Result], lists: Sequence[_Lists], config: Any
) -> Section:
  parts = [page.paragraph(_LISTS_LEAD)]
  for result, kinds in zip(results, lists, strict=True):
    parts.append(f"<h3>{page.text(result.target.name)}</h3>")
    for kind, found in kinds.items():
      parts.append(page.paragraph(_KINDS[kind]))
      parts += [_show_list(result.folds[0], f, config.data) for f in found]
  return Section("lists", "Ranked lists", "\n".join(parts))


def _maps(
  results: Sequence[Result],
  lists: Sequence[_Lists],
  run: LoadedRun,
  config: Any,
) -> Section:
  parts = [page.paragraph(_MAPS_LEAD)]
  if (config.eval.adapt_bn, config.eval.adapt) != ("none", "none"):
    parts.append(
      page.paragraph(
        "The scores adapt the network to the target; these maps are of the "
        "network as it was trained."
      )
    )
  for result, kinds in zip(results, lists, strict=True):
    fold, found = result.folds[0].fold, kinds[ranked_lists.RANDOM]
    records = [
      record
      for each in found
      for record in (fold.query[each.query], fold.gallery[each.gallery[0]])
    ]
    images = np.stack([_read(record, config.data) for record in records])
    maps = activation_maps.activation_maps(run.network, run.variables, images)
    parts.append(f"<h3>{page.text(result.target.name)}</h3>")
    items = []
    for row, each in enumerate(found):
      for place, (name, mark) in enumerate(
        (("query", "query"), _mark(bool(each.right[0])))
      ):
        image = images[2 * row + place]
        heat = activation_maps.overlay(image, maps[2 * row + place])
        items.append(_item(image, name, mark))
        items.append(_item(heat, "", "map"))
    rows = [items[start : start + 4] for start in range(0, len(items), 4)]
    cards = "".join(
      f'<div class="list"><div class="row">{"".join(row)}</div></div>'
      for row in rows
    )
    parts.append(f'<div class="charts">{cards}</div>')
  return Section("maps", "Activation maps", "\n".join(parts))


def without_photos(anchor: str, title: str) -> Section:
  """What stands in the place of a part that would show persons."""
  return Section(
    anchor, title, page.paragraph("Left out: the report is without photos.")
  )


def _list_first(ranked: RankedFold, config: Any, number: int) -> _Lists:
  distances = evaluate.make_distances(
    ranked.query, ranked.gallery, settings.from_config(config.eval)
  )
  chosen = ranked_lists.choose_queries(ranked.ranking, number)
  return {
    kind: ranked_lists.list_first(
      queries,
      distances,
      evaluate.labels_of(ranked.fold),
      count=_FIRST,
      cross_camera=config.eval.cross_camera,
    )
    for kind, queries in chosen.items()
  }


def _show_list(ranked: RankedFold, found: RankedList, data: Any) -> str:
  query = ranked.fold.query[found.query]
  title = (
    f"{query.pid}, {_camera(query)}: average precision "
    f"{100 * ranked.ranking.ap[found.query]:.1f} %, first match at rank "
    f"{ranked.ranking.first_rank[found.query]}, "
    f"{ranked.ranking.num_matches[found.query]} matches in the gallery"
  )
  items = [_item(_read(query, data), "query", "query")]
  for row, distance, right in zip(
    found.gallery, found.distance, found.right, strict=True
  ):
    record = ranked.fold.gallery[row]
    name, mark = _mark(bool(right))
    rest = f"{distance:.3f} {_camera(record)}"
    items.append(_item(_read(record, data), name, mark, rest))
  return (
    f'<div class="list">{page.paragraph(title)}'
    f'<div class="row">{"".join(items)}</div></div>'
  )


def _mark(right: bool) -> tuple[str, str]:
  return ("right", "\N{CHECK MARK}") if right else ("wrong", "\N{BALLOT X}")


def _item(pixels: np.ndarray, name: str, mark: str, rest: str = "") -> str:
  inside = f"<b>{page.text(mark)}</b> {page.text(rest)}"
  return (
    f'<div class="item {name}">{inline_photo(pixels, name or "map")}'
    f"{inside}</div>"
  )


def _camera(record: Record) -> str:
  return f"camera {record.camid}" if record.camid >= 0 else "camera unknown"


def _read(record: Record, data: Any) -> np.ndarray:
  """The pixels that the network has seen."""
  return load_image(record.path, data.height_px, data.width_px)
