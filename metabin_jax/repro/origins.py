"""What the jobs of a table were run by, on what, and on which data."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

_DIGITS = 12


def describe(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Sums up where results come from.

  Args:
    results: job's name -> result.

  Returns:
    JSON data: for each fact, the values and how many jobs have each; "mixed",
    the facts of which there is more than one; "data", the lines about the
    training data and the targets of each setting; "dates", the first and the
    last day.
  """
  facts = {
    name: _count(results, read)
    for name, read in (
      ("commit", _commit),
      ("device", lambda result: result.get("device", "unknown")),
      ("host cores", lambda result: str(result["host_cores"])),
      ("versions", _versions),
      ("evaluation", lambda result: result["evaluation"]),
    )
  }
  data = {}
  for setting in sorted({r["job"]["setting"] for r in results.values()}):
    part = {
      name: result
      for name, result in results.items()
      if result["job"]["setting"] == setting
    }
    data[setting] = _count(part, _data)
  mixed = [name for name, values in facts.items() if len(values) > 1]
  mixed += [f"data of {name}" for name, found in data.items() if len(found) > 1]
  dates = sorted(result["date"] for result in results.values())
  return {
    "jobs": len(results),
    "facts": facts,
    "data": data,
    "mixed": mixed,
    "dates": [dates[0][:10], dates[-1][:10]] if dates else [],
  }


def _count(
  results: Mapping[str, Mapping[str, Any]],
  read: Callable[[Mapping[str, Any]], str],
) -> dict[str, int]:
  counts = collections.Counter(read(result) for result in results.values())
  return dict(sorted(counts.items()))


def _commit(result: Mapping[str, Any]) -> str:
  texts = []
  for commit in result["cost"]["commits"]:
    text = (commit["revision"] or "installed package")[:_DIGITS]
    texts.append(f"{text} with changes" if commit["changed"] else text)
  return ", then ".join(texts)


def _versions(result: Mapping[str, Any]) -> str:
  known = result.get("versions", {})
  return ", ".join(f"{name} {known[name]}" for name in sorted(known))


def _data(result: Mapping[str, Any]) -> str:
  """Sources and targets, with what a reader must know of them."""
  digest = result.get("data_sha256", "unknown")[:_DIGITS]
  sources = result.get("sources", [])
  parts = [
    f"trained on {', '.join(s['name'] for s in sources)} ("
    f"{sum(s['images'] for s in sources)} images, sha256={digest})"
  ]
  for name in result["own_targets"]:
    known = result["targets"][name]
    parts.append(
      f"{name}: protocol={known['protocol']} folds={known['folds']} "
      f"sha256={known['sha256'][:_DIGITS]}"
    )
  notes = [note for source in sources for note in source["notes"]]
  notes += [n for target in result["targets"].values() for n in target["notes"]]
  return "; ".join([*parts, *dict.fromkeys(notes)])
