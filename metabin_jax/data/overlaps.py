"""Persons that two public data sets, or two copies of one, have in common."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.data.records import DataSet, Record
from metabin_jax.errors import UserError

_NUM_EXAMPLES = 3


def known_overlap(first: str, second: str) -> bool:
  """Whether two public sets of different names show the same persons.

  Args:
    first: name of a public set, "" for other data.
    second: likewise.
  """
  return any(
    here in PUBLIC_SETS and there in PUBLIC_SETS[here].overlaps
    for here, there in ((first, second), (second, first))
  )


def reject_among_sources(sources: Sequence[DataSet]) -> None:
  """Refuses sources whose common persons would count as different ones.

  Raises:
    UserError: if two are the same public set, or two that are known to show
      the same persons.
  """
  for first, second in itertools.combinations(sources, 2):
    names = first.provenance.public, second.provenance.public
    if known_overlap(*names) or (names[0] and names[0] == names[1]):
      raise UserError(
        f"sources {first.name!r} and {second.name!r} are known to show the "
        "same persons, who would count as different ones; leave one out."
      )


def reject_trained(public: str, target: DataSet) -> None:
  """Refuses a target that shows persons of a public set that was trained on.

  For runs whose training data are not at hand any more.

  Args:
    public: name of the public set, "" for other data.
    target: the test data.

  Raises:
    UserError: if they are known to show the same persons.
  """
  if known_overlap(public, target.provenance.public):
    raise UserError(
      f"target {target.name!r} and the source {public} that was trained on are "
      "known to show the same persons; test on persons that are not trained on."
    )


def reject_source_of_target(source: DataSet, target: DataSet) -> None:
  """Refuses a target that shows persons of a source.

  Persons of one public set are compared whatever the two are named; of two
  packagings of one set they cannot be compared, as each numbers them its way.

  Raises:
    UserError: if they are known to share persons, or it cannot be told.
  """
  known = source.provenance, target.provenance
  if known_overlap(known[0].public, known[1].public):
    raise UserError(
      f"target {target.name!r} and source {source.name!r} are known to "
      "show the same persons; test on persons that are not trained on."
    )
  if not known[0].public or known[0].public != known[1].public:
    return
  if known[0].variant != known[1].variant:
    raise UserError(
      f"target {target.name!r} ({known[1].variant}) and source "
      f"{source.name!r} ({known[0].variant}) are two packagings of "
      f"{known[0].public}, whose persons cannot be compared; take both from "
      "one."
    )
  tested = [r for fold in target.folds for r in (*fold.query, *fold.gallery)]
  shared = sorted(_numbers(source, source.train) & _numbers(target, tested))
  if shared:
    raise UserError(
      f"target {target.name!r} shares {len(shared)} persons with the source "
      f"{source.name!r}, such as {', '.join(shared[:_NUM_EXAMPLES])}; test on "
      "persons that are not trained on."
    )


def _numbers(dataset: DataSet, records: Sequence[Record]) -> set[str]:
  """Persons without the name that the user gave the data set."""
  return {record.pid.removeprefix(f"{dataset.name}/") for record in records}
