"""What the tests of all public data sets share."""

from __future__ import annotations

import importlib
import pathlib

import pytest

from metabin_jax.data.public import definition


@pytest.fixture(scope="session")
def _built():
  return {}


@pytest.fixture
def miniature(_built, tmp_path_factory):
  """miniature(module, variant="") -> root, built once; do not change it."""

  def root(module_name: str, variant: str = "") -> pathlib.Path:
    key = module_name, variant
    if key not in _built:
      module = importlib.import_module(f"miniatures.{module_name}")
      folder = tmp_path_factory.mktemp(f"{module_name}-{variant or 'plain'}")
      _built[key] = module.build(folder, variant)
    return _built[key]

  return root


@pytest.fixture
def counts_of():
  """counts_of(public, root, **options) -> numbers by group, as found."""

  def counts(public, root, **options) -> dict[str, definition.Count]:
    chosen = {key: values[0] for key, values in public.options.items()}
    found = public.list_items(str(root), {**chosen, **options})
    return definition.tally(found.items)

  return counts


@pytest.fixture
def files_below():
  """files_below(folder) -> {relative path: (size, time of change)}."""

  def files(folder) -> dict[str, tuple[int, int]]:
    place = pathlib.Path(folder)
    found = {}
    for path in sorted(place.rglob("*")):
      status = path.stat()
      found[str(path.relative_to(place))] = status.st_size, status.st_mtime_ns
    return found

  return files
