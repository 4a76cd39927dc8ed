"""A study's numbers as Markdown for people and JSON for machines."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from metabin_jax.evaluation.table import save_json
from metabin_jax.repro import mined_pairs
from metabin_jax.repro.collect import AVERAGE, NOT_RUN

_NONE = "-"
_QUICK = (
  "The quick scale is another benchmark: rendered people, a small network, a "
  "short schedule. Its numbers cannot be compared with published ones, which "
  "are given for the order of the rows alone."
)
_BEST = (
  "Best snapshot on the targets: for each seed the checkpoint with the highest "
  "average rank-1 on these very targets, as the published model was chosen. "
  "It flatters; the tables above show the last checkpoint."
)
_OTHERWISE = (
  "Rows that share a training run with others, and how they are scored in "
  "place of that run's own way:"
)
_CHANGE = (
  "What these change in the very same runs, average over the targets, in "
  "percentage points: mean ± deviation of the differences (seed by seed)."
)
_MINED = (
  "Mined pairs of the site, shares in percent, in the first and the last "
  "quarter of the logged iterations that mined. Positive: taken for one "
  "person, of all mined; true positive: of these, those of one person; true "
  "negative: of the others, those of two; one person: of all mined, which is "
  "what similarity without multilabels would give."
)
_COST = (
  "Cost of a run, mean over the seeds; scoring: all its snapshots, and in all "
  "ways that tables have asked for; memory: the largest, of the whole "
  "process. Training includes compiling, unless another run has left the "
  "programs in the cache; compiling is what most of a host's memory goes to, "
  "so memory here does not compare arms."
)

Row = Mapping[str, Any]


def save(data: Mapping[str, Any], folder: pathlib.Path, name: str) -> None:
  """Writes `<name>.md` and `<name>.json`.

  Args:
    data: from `collect.collect`.
    folder: made if missing.
    name: of the files.
  """
  save_text(folder / f"{name}.md", to_markdown(data))
  save_json(folder / f"{name}.json", data)


def save_text(file: pathlib.Path, text: str) -> None:
  """Writes a text; the file is either complete or not there."""
  file.parent.mkdir(parents=True, exist_ok=True)
  part = file.with_name(f".{file.name}.part-{os.getpid()}")
  try:
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
  finally:
    part.unlink(missing_ok=True)


def to_markdown(data: Mapping[str, Any]) -> str:
  """All tables of a study.

  Args:
    data: from `collect.collect`.

  Returns:
    Text with a newline at its end.
  """
  seeds = ", ".join(map(str, data["seeds"]))
  lines = [
    f"# {data['title']}",
    "",
    data["question"],
    "",
    f"Scale: {data['scale']}. Seeds: {seeds}. Scores in percent, of the last "
    "checkpoint; mean ± sample deviation over the seeds.",
  ]
  if data["overrides"]:
    changed = ", ".join(f"{k}={v!r}" for k, v in data["overrides"].items())
    lines += ["", f"Changed in every run by the command line: {changed}."]
  if data["scale"] == "quick":
    lines += ["", _QUICK]
  if data["note"]:
    lines += ["", data["note"]]
  for setting in data["settings"]:
    rows = [row for row in data["rows"] if row["setting"] == setting]
    if rows:
      lines += ["", f"## {setting}"]
      lines += _setting(rows, data)
  lines += _missing(data["rows"])
  lines += _sources(data["rows"])
  lines += _provenance(data["provenance"])
  return "\n".join(lines) + "\n"


def _setting(rows: Sequence[Row], data: Mapping[str, Any]) -> list[str]:
  lines = ["", "Average over the targets:", "", *_scores(rows, AVERAGE, data)]
  for target in _targets(rows, data["per_target"]):
    lines += ["", f"{target}:", "", *_scores(rows, target, data)]
  run = [row for row in rows if row["ours"]]
  if not run:
    return lines
  snapshots = [row for row in run if row["best_steps"]]
  if snapshots:
    lines += ["", _BEST, ""]
    lines += _best_table(snapshots, data)
  if len(snapshots) < len(run):
    lines += ["", _OTHERWISE, ""]
    lines += [
      f"* {row['label']}: {text}" for row in run for text in row["evaluation"]
    ]
  lines += _changes(run, data)
  lines += _mined(run)
  lines += ["", _COST, ""]
  lines += table(
    ["row", "arm", *(head for head, _ in _COSTS)],
    [
      [row["label"], row["arm"], *(show(row["cost"]) for _, show in _COSTS)]
      for row in _one_a_run(run)
    ],
  )
  if not all(row["cost"]["complete"] for row in run):
    lines += ["", "≥: a process was killed and its last minutes are not known."]
  return lines


def _changes(rows: Sequence[Row], data: Mapping[str, Any]) -> list[str]:
  """What each way of scoring changes, where runs are shared."""
  changed = [row for row in rows if row.get("change")]
  if not changed:
    return []
  body = [
    [
      row["label"],
      row["arm"],
      *(_signed(row["change"][AVERAGE].get(m)) for m in data["metrics"]),
    ]
    for row in changed
  ]
  heading = ["row", "arm", *data["metrics"]]
  return ["", _CHANGE, "", *table(heading, body)]


def _signed(found: Mapping[str, Any] | None) -> str:
  if found is None:
    return _NONE
  # Nothing is without a sign: -0.04 is +0.0.
  mean, *each = (
    f"{round(value, 1) + 0.0:+.1f}"
    for value in (found["mean"], *found["values"])
  )
  if found["std"] is None:
    return mean
  return f"{mean} ± {found['std']:.1f} ({', '.join(each)})"


def _mined(rows: Sequence[Row]) -> list[str]:
  """How well pairs were mined, where there was mining."""
  body = [
    [row["label"], stage, *(_spread(found[n]) for n in mined_pairs.SHARES)]
    for row in _one_a_run(rows)
    # Files of before they were counted have none.
    for stage, found in row.get("mined_pairs", {}).items()
  ]
  if not body:
    return []
  heading = ["row", "iterations", *mined_pairs.SHARES]
  return ["", _MINED, "", *table(heading, body)]


def _one_a_run(rows: Sequence[Row]) -> list[Row]:
  """The first of the rows that share their training."""
  first: dict[tuple[str, ...], Row] = {}
  for row in rows:
    first.setdefault(tuple(row["jobs"]), row)
  return list(first.values())


def _best_table(rows: Sequence[Row], data: Mapping[str, Any]) -> list[str]:
  return table(
    ["row", "arm", *data["metrics"], "iterations"],
    [
      [
        row["label"],
        row["arm"],
        *(_ours(row["best_on_target"], AVERAGE, m) for m in data["metrics"]),
        ", ".join(map(str, row["best_steps"])),
      ]
      for row in rows
    ],
  )


def _targets(rows: Sequence[Row], per_target: bool) -> list[str]:
  """Targets with a table of their own: all, or those added by the user."""
  ours = [name for row in rows for name in row["ours"]]
  published = [name for row in rows for name in row["published"]]
  names = dict.fromkeys([*ours, *published] if per_target else ours)
  own = {name for row in rows for name in row["own_targets"]}
  return [
    name
    for name in names
    if name != AVERAGE and (per_target or name not in own)
  ]


def _scores(
  rows: Sequence[Row], target: str, data: Mapping[str, Any]
) -> list[str]:
  """One table; leaves out rows and columns that have nothing to say."""
  metrics = data["metrics"]
  ours = target == AVERAGE or any(target in row["ours"] for row in rows)
  published = any(target in row["published"] for row in rows)
  compared = data["comparable"] and ours and published
  heading = ["row", "arm"]
  heading += ["seeds", *metrics] if ours else []
  heading += [f"published {metric}" for metric in metrics] if published else []
  heading += [f"difference {metric}" for metric in metrics] if compared else []
  body = []
  for row in rows:
    if row["arm"] is None and target not in row["published"]:
      continue
    cells = [row["label"], row["arm"] or _NONE]
    if ours:
      cells += [str(len(row["seeds"])) if row["arm"] else _NONE]
      cells += [
        _ours(row["ours"], target, metric, NOT_RUN) if row["arm"] else _NONE
        for metric in metrics
      ]
    if published:
      found = row["published"].get(target, {})
      cells += [
        f"{found[metric]:.1f}" if metric in found else _NONE
        for metric in metrics
      ]
    if compared:
      found = row.get("difference", {}).get(target, {})
      cells += [
        f"{found[metric]:+.1f}" if metric in found else _NONE
        for metric in metrics
      ]
    body.append(cells)
  return table(heading, body)


def _ours(
  scores: Mapping[str, Any], target: str, metric: str, missing: str = _NONE
) -> str:
  if not scores:
    return missing
  return _spread(scores.get(target, {}).get(metric))


def _spread(found: Mapping[str, Any] | None) -> str:
  """Mean and deviation, where there are some."""
  if found is None:
    return _NONE
  text = f"{found['mean']:.1f}"
  return text if found["std"] is None else f"{text} ± {found['std']:.1f}"


def _minutes(key: str) -> Callable[[Mapping[str, Any]], str]:
  def show(cost: Mapping[str, Any]) -> str:
    return f"{'' if cost['complete'] else '≥ '}{cost[key]:.2f}"

  return show


def _megabytes(key: str) -> Callable[[Mapping[str, Any]], str]:
  return lambda cost: _NONE if cost[key] is None else f"{cost[key]:.0f}"


_COSTS = (
  ("training, processor min", _minutes("train_processor_minutes")),
  ("training, wall min", _minutes("train_wall_minutes")),
  ("scoring, processor min", _minutes("score_processor_minutes")),
  ("scoring, wall min", _minutes("score_wall_minutes")),
  ("peak MB of the host", _megabytes("peak_resident_megabytes")),
  ("peak MB of the device", _megabytes("peak_device_megabytes")),
  ("parameters", lambda cost: f"{cost['parameters']:,}"),
  ("rho", lambda cost: f"{cost['balance_parameters']:,}"),
)


def _missing(rows: Iterable[Row]) -> list[str]:
  """What is not in the tables, and why."""
  found = [
    f"* {row['label']} ({row['setting']}), seed {seed}: {why}"
    for row in rows
    for seed, why in row["missing"].items()
  ]
  return ["", "## Missing", "", *found] if found else []


def _sources(rows: Iterable[Row]) -> list[str]:
  by_source: dict[str, dict[str, None]] = {}
  for row in rows:
    if row["published"]:
      by_source.setdefault(row["source"], {})[row["label"]] = None
  found = [
    f"* {', '.join(labels)}: {source}" for source, labels in by_source.items()
  ]
  return ["", "## Published numbers", "", *found] if found else []


def _provenance(data: Mapping[str, Any]) -> list[str]:
  lines = ["", "## Provenance", ""]
  if not data["jobs"]:
    return [*lines, "No job has been run."]
  first, last = data["dates"]
  days = first if first == last else f"{first} to {last}"
  lines.append(f"{data['jobs']} jobs, finished {days} (UTC).")
  if data["mixed"]:
    lines += ["", f"Not the same for all jobs: {', '.join(data['mixed'])}."]
  lines.append("")
  groups = {**data["facts"]}
  groups |= {f"data of {name}": found for name, found in data["data"].items()}
  for name, values in groups.items():
    for value, count in values.items():
      jobs = "" if len(values) == 1 else f" ({count} of {data['jobs']} jobs)"
      lines.append(f"* {name}: {value}{jobs}")
  return lines


def table(heading: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
  """The lines of a Markdown table; the first two columns hold text."""
  rules = ["---", "---", *["---:"] * (len(heading) - 2)]
  return [
    "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    for cells in (heading, rules, *body)
  ]
