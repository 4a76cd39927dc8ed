"""The user's own norm arms and backbones: files named in `model.plugins`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Sequence

from metabin_jax.errors import UserError


def load(names: Sequence[str]) -> None:
  """Runs each plug-in once in this process; it registers what it defines.

  Args:
    names: Python files (they end in ".py"), taken from the working directory,
      or names of importable modules.

  Raises:
    UserError: if one is not there or raises something itself.
  """
  for name in names:
    try:
      _load(name)
    # The file is the user's program: whatever it raises is theirs to mend.
    except Exception as error:
      raise UserError(
        f"model.plugins: {name} cannot be loaded "
        f"({type(error).__name__}: {error}); name a Python file, found from "
        "the working directory, or an importable module, that calls "
        "register_norm or register_backbone."
      ) from error


def digests(names: Sequence[str]) -> dict[str, str]:
  """SHA-256 of each plug-in's source, by its name; load them first."""
  return {
    name: hashlib.sha256(pathlib.Path(_source(name)).read_bytes()).hexdigest()
    for name in names
  }


def _load(name: str) -> None:
  if not name.endswith(".py"):
    importlib.import_module(name)
    return
  path = pathlib.Path(name).resolve()
  content = path.read_bytes()
  # Named by its content: an edited file is loaded again, others only once.
  module_name = f"metabin_plugin_{hashlib.sha256(content).hexdigest()[:16]}"
  if module_name in sys.modules:
    return
  spec = importlib.util.spec_from_file_location(module_name, path)
  assert spec is not None  # the name ends in .py
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[module_name] = module
  try:
    spec.loader.exec_module(module)
  except BaseException:
    del sys.modules[module_name]
    raise


def _source(name: str) -> str:
  if name.endswith(".py"):
    return name
  source = sys.modules[name].__file__
  if source is None:
    raise UserError(
      f"model.plugins: {name} is a package without a file; name a module."
    )
  return source
