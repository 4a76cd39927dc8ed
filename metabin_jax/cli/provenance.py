"""What stands below a table of scores: on which data, by which split lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from metabin_jax.cli import outputs
from metabin_jax.data import splits
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError

_DIGITS = 12


class Context(NamedTuple):
  """What a table of scores does not say itself.

  Attributes:
    targets: the data sets of its rows.
    evaluation: run -> `evaluation.settings.describe`.
    training: run -> `sources` of the run's description.
    steps: run -> step of its checkpoint.
    warnings: sentences that a reader of the scores must know.
    adapted: run -> target -> fold -> on how many images, pairs and steps the
      network was adapted before it was scored; runs that were not are absent.
  """

  targets: Sequence[DataSet]
  evaluation: Mapping[str, str]
  training: Mapping[str, Sequence[Mapping[str, Any]]]
  steps: Mapping[str, int]
  warnings: Sequence[str] = ()
  adapted: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}


def lines(context: Context) -> list[str]:
  """What to print below the table."""
  notes = {
    name: source_lines(sources) for name, sources in context.training.items()
  }
  common = len({tuple(found) for found in notes.values()}) == 1
  training = [
    line if common else f"{name}: {line}"
    for name, found in notes.items()
    for line in found
  ]
  return [
    *outputs.evaluation_lines(context.evaluation),
    *target_lines(context.targets),
    *dict.fromkeys(training),
    *_adapted_lines(context.adapted),
    *(f"warning: {warning}" for warning in context.warnings),
  ]


def _adapted_lines(adapted):
  """One line a target: on how much each run was adapted."""
  return [
    f"{name} adapted to {target}: "
    + ", ".join(
      f"{what} {_range(fold[what] for fold in folds.values())}"
      for what in ("images", "pairs", "steps")
    )
    for name, targets in adapted.items()
    for target, folds in targets.items()
  ]


def _range(numbers: Iterable[int]) -> str:
  """ "5", or "5 to 7" for numbers of several folds."""
  found = sorted({*numbers})
  return " to ".join(str(n) for n in dict.fromkeys((found[0], found[-1])))


def to_json(context: Context) -> dict[str, Any]:
  """The same as JSON data, and the checkpoints' steps."""
  return {
    "evaluation": dict(context.evaluation),
    "data": target_json(context.targets),
    "training": {
      name: list(sources) for name, sources in context.training.items()
    },
    "steps": dict(context.steps),
    "warnings": list(context.warnings),
    **({"adapted": dict(context.adapted)} if context.adapted else {}),
  }


def reject_other_data(first: DataSet, second: DataSet) -> None:
  """Refuses two targets of one name in one table that are not the same data.

  Raises:
    UserError: if split lists, public set, variant or notes differ.
  """
  if first is second:
    return
  known = [
    (
      splits.split_digest(d),
      d.provenance.public,
      d.provenance.variant,
      *d.provenance.notes,
    )
    for d in (first, second)
  ]
  if known[0] != known[1]:
    raise UserError(
      f"two targets named {first.name!r} are not the same data (sha256 "
      f"{known[0][0][:_DIGITS]} and {known[1][0][:_DIGITS]}); score these runs "
      "apart, or give --target for all of them."
    )


def target_lines(targets: Iterable[DataSet]) -> list[str]:
  """One line for each target, then the notes on them.

  Args:
    targets: data sets with folds.

  Returns:
    Lines "viper: protocol=metabin folds=10 sha256=0123456789ab (origin)".
  """
  targets = list(targets)
  lines = []
  for name, known in target_json(targets).items():
    variant = f" variant={known['variant']}" if known["variant"] else ""
    origin = f" ({known['origin']})" if known["origin"] else ""
    lines.append(
      f"{name}: protocol={known['protocol']}{variant} folds={known['folds']} "
      f"sha256={known['sha256'][:_DIGITS]}{origin}"
    )
  notes = dict.fromkeys(n for t in targets for n in t.provenance.notes)
  return lines + [f"note: {note}" for note in notes]


def source_lines(sources: Sequence[Mapping[str, Any]]) -> list[str]:
  """The notes on the data that a run was trained on.

  Args:
    sources: `sources` of the run's description.

  Returns:
    Lines "note on training: ...".
  """
  notes = dict.fromkeys(note for s in sources for note in s.get("notes", ()))
  return [f"note on training: {note}" for note in notes]


def target_json(targets: Iterable[DataSet]) -> dict[str, Any]:
  """The same for machines, with whole digests, by target."""
  return {
    target.name: {
      "public": target.provenance.public,
      "variant": target.provenance.variant,
      "protocol": target.provenance.protocol or "own",
      "origin": target.provenance.origin,
      "folds": len(target.folds),
      "sha256": splits.split_digest(target),
      "notes": list(target.provenance.notes),
    }
    for target in targets
  }
