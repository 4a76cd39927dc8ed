"""Miniatures of public data sets that pass for the published ones."""

from __future__ import annotations

import importlib
import pathlib

from metabin_jax.data import readers
from metabin_jax.data.public import definition, reading
from metabin_jax.data.public.registry import PUBLIC_SETS


def only(monkeypatch, *modules: str) -> None:
  """Makes the sets of these parsers the only ones that are known."""
  for name in list(PUBLIC_SETS):
    monkeypatch.delitem(PUBLIC_SETS, name)
  for name in modules:
    module = importlib.import_module(f"metabin_jax.data.public.{name}")
    public = next(
      value
      for value in vars(module).values()
      if isinstance(value, definition.PublicSet)
    )
    monkeypatch.setitem(PUBLIC_SETS, public.name, public)
    keys = ("name", "domain", *reading.keys(public))
    monkeypatch.setitem(readers._KEYS, public.name, keys)


def build(folder: pathlib.Path, *modules: str) -> None:
  """Writes the miniatures below a folder, each under its own name."""
  for name in modules:
    importlib.import_module(f"miniatures.{name}").build(folder)


def complete(monkeypatch, folder: pathlib.Path, *modules: str) -> None:
  """Makes the numbers of the miniatures the published ones."""
  for name in modules:
    module = importlib.import_module(f"metabin_jax.data.public.{name}")
    public = PUBLIC_SETS[name]
    options = {key: values[0] for key, values in public.options.items()}
    root = reading.find_root(public, str(folder))
    found = definition.tally(public.list_items(root, options).items)
    monkeypatch.setattr(module, "EXPECTED", found)
