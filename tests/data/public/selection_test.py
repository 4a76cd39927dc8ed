from __future__ import annotations

from metabin_jax.data.public import selection
from metabin_jax.data.public.definition import DISTRACTOR, Item


def item(name: str, pid: str, part: str, role: str = "person") -> Item:
  return Item(f"/{name}", name, pid, 1, part, role)


ITEMS = (
  item("1", "b", "x"),
  item("2", "a", "x"),
  item("3", "b", "y"),
  item("4", "0", "x", DISTRACTOR),
  item("5", "0", "y", DISTRACTOR),
  item("6", "a", "y"),
  item("7", "c", "y"),
  item("8", "a", "x"),
)


def test_common_persons():
  assert selection.common_persons(ITEMS, "x", "y") == ["a", "b"]
  assert selection.common_persons(ITEMS, "y") == ["a", "b", "c"]
  assert selection.common_persons(ITEMS, "x", "z") == []


def test_names_of():
  assert selection.names_of(ITEMS, "x", ["a"]) == ("2", "8")
  assert selection.names_of(ITEMS, "y", ["c", "a"]) == ("6", "7")
