"""Gathers the results of a study's jobs: the numbers of its tables."""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from metabin_jax.repro import changes, job_folder, mined_pairs, origins
from metabin_jax.repro.jobs import Cell, Choice
from metabin_jax.repro.spread import spread
from metabin_jax.repro.types import Study, scoring_name

AVERAGE = "average"
NOT_RUN = "not run"
FAILED = "failed"
STALE = "stale"
_MEGABYTE = 1e6

Result = Mapping[str, Any]


def collect(
  study: Study,
  choice: Choice,
  cells: Iterable[Cell],
  configs: Mapping[str, config_dict.FrozenConfigDict],
  out: pathlib.Path,
) -> dict[str, Any]:
  """Reads the finished jobs of a study; the others count as not run.

  Args:
    study: the study.
    choice: what was asked for.
    cells: its rows, from `jobs.list_cells`.
    configs: job's name -> its configuration as of today, resolved.
    out: folder of all output.

  Returns:
    JSON data: what the study is, "rows" and "provenance". Each row has "label",
    "arm", "setting", "seeds" (those with a result), "missing" (seed -> "not
    run", "failed" or "stale"), "ours" and "best_on_target" (target or
    "average" -> metric -> {"mean", "std": sample deviation over the seeds, null
    for one, "values"}), "published", "source", "cost", "evaluation" (how the
    row was scored, if otherwise than its run), "change" (such a row's
    difference, run by run, to the runs' own way: as in "ours") and
    "mined_pairs" (stage -> share of `mined_pairs.SHARES` -> as in "ours", or
    None). In percent. At the
    full scale, with nothing changed and nothing missing from the data,
    "difference" is ours - published; other numbers cannot be compared with
    published ones.

  Raises:
    UserError: if a result is damaged.
  """
  comparable = choice.scale == "full" and not (
    job_folder.changes_numbers(choice.overrides)
    or any(job_folder.is_partial(config) for config in configs.values())
  )
  rows = []
  used: dict[str, Result] = {}
  for cell in cells:
    results, missing = _load(cell, configs, out)
    used |= results
    rows.append(_row(study, cell, results, missing, comparable))
  for row in rows:
    row["change"] = changes.against_own(row, rows)
  return {
    "study": study.name,
    "title": study.title,
    "question": study.question,
    "note": study.note,
    "scale": choice.scale,
    "seeds": list(choice.seeds),
    "overrides": dict(choice.overrides),
    "metrics": list(study.metrics),
    "per_target": study.per_target,
    "settings": list(study.settings),
    "unit": "percent",
    "comparable": comparable,
    "rows": rows,
    "provenance": origins.describe(used),
  }


def _load(
  cell: Cell,
  configs: Mapping[str, config_dict.FrozenConfigDict],
  out: pathlib.Path,
) -> tuple[dict[str, Result], dict[str, str]]:
  """({job's name: result}, {seed: why there is none})."""
  results: dict[str, Result] = {}
  missing = {}
  scoring = scoring_name(cell.entry.scoring)
  for job in cell.jobs:
    folder = job_folder.find(out, job)
    result = folder.load_result()
    if result is None:
      missing[str(job.seed)] = FAILED if folder.error.exists() else NOT_RUN
    elif job_folder.differences(result, configs[job.name]):
      missing[str(job.seed)] = STALE
    elif scoring and job_folder.lacks(result, (), (scoring,)):
      missing[str(job.seed)] = NOT_RUN
    else:
      results[job.name] = result
  return results, missing


def _row(
  study: Study,
  cell: Cell,
  results: Mapping[str, Result],
  missing: Mapping[str, str],
  comparable: bool,
) -> dict[str, Any]:
  found = [*results.values()]
  published = cell.entry.published.get(cell.setting, {})
  name = scoring_name(cell.entry.scoring)
  ours = _scores(
    [r["scorings"][name] if name else r["final"] for r in found], study.metrics
  )
  # Snapshots are scored in the run's own way alone.
  best = [] if name else [result["best_on_target"] for result in found]
  row = {
    "label": cell.entry.label,
    "arm": cell.entry.arm,
    "setting": cell.setting,
    "seeds": [result["job"]["seed"] for result in found],
    "missing": dict(missing),
    "jobs": [job.name for job in cell.jobs],
    "own_targets": found[0]["own_targets"] if found else [],
    "ours": ours,
    "best_on_target": _scores(best, study.metrics),
    "best_steps": [snapshot["step"] for snapshot in best],
    "evaluation": [
      *dict.fromkeys(r["scorings"][name]["evaluation"] for r in found if name)
    ],
    "published": {target: dict(row) for target, row in published.items()},
    "source": cell.entry.source,
    "cost": _cost(found),
    "mined_pairs": _mined_pairs(found),
  }
  if comparable:
    row["difference"] = {
      target: {
        metric: ours[target][metric]["mean"] - value
        for metric, value in metrics.items()
        if metric in ours.get(target, {})
        if metric not in cell.entry.incomparable.get(cell.setting, ())
      }
      for target, metrics in published.items()
      if target in ours
    }
  return row


def _scores(
  snapshots: Sequence[Result], metrics: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
  """target or "average" -> metric -> mean, deviation and values."""
  if not snapshots:
    return {}
  tables = [{AVERAGE: s["average"], **s["scores"]} for s in snapshots]
  scores: dict[str, dict[str, dict[str, Any]]] = {}
  for target in tables[0]:
    scores[target] = {}
    for metric in metrics:
      shares = [table.get(target, {}).get(metric) for table in tables]
      if None not in shares:
        scores[target][metric] = spread([100 * share for share in shares])
  return scores


def _mined_pairs(results: Sequence[Result]) -> dict[str, Any]:
  """Of the runs that mined pairs; empty without any."""
  counts = [r["mined_pairs"] for r in results if r.get("mined_pairs")]
  if not counts:
    return {}
  found: dict[str, Any] = {}
  for stage in mined_pairs.STAGES:
    shares = [mined_pairs.shares(count[stage]) for count in counts]
    found[stage] = {}
    for name in mined_pairs.SHARES:
      values = [share[name] for share in shares]
      known = [value for value in values if value is not None]
      found[stage][name] = spread(known) if len(known) == len(values) else None
  return found


def _cost(results: Sequence[Result]) -> dict[str, Any]:
  """Means over the seeds; "complete": no process of theirs was killed."""
  if not results:
    return {}
  costs = [result["cost"] for result in results]
  minutes = {
    f"{phase}_{kind}_minutes": statistics.fmean(
      cost[f"{phase}_{kind}_seconds"] / 60 for cost in costs
    )
    for phase in ("train", "score")
    for kind in ("wall", "processor")
  }
  peaks = {}
  for place in ("resident", "device"):
    known = [c[f"peak_{place}_bytes"] for c in costs]
    peaks[f"peak_{place}_megabytes"] = (
      None if None in known else max(known) / _MEGABYTE
    )
  return {
    **minutes,
    **peaks,
    "parameters": results[0]["parameters"],
    "balance_parameters": results[0]["balance_parameters"],
    "complete": all(cost["complete"] for cost in costs),
  }
