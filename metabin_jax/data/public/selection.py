"""Persons of a data set, and the names of their images."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from metabin_jax.data.public.definition import PERSON, Item


def common_persons(items: Iterable[Item], *parts: str) -> list[str]:
  """Persons who have an image in each of some parts.

  Args:
    items: of one data set.
    *parts: at least one.

  Returns:
    Their pids, sorted; distractors and junk are no persons.
  """
  seen: dict[str, set[str]] = {part: set() for part in parts}
  for item in items:
    if item.role == PERSON and item.part in seen:
      seen[item.part].add(item.pid)
  return sorted(set.intersection(*seen.values()))


def names_of(
  items: Iterable[Item], part: str, pids: Collection[str]
) -> tuple[str, ...]:
  """Names of the images that some persons have in a part.

  Args:
    items: of one data set.
    part: where to look.
    pids: the persons.

  Returns:
    The names, in the order of the items.
  """
  wanted = set(pids)
  return tuple(
    item.name for item in items if item.part == part and item.pid in wanted
  )
