"""Arms of the user's own, from files like those of `metabin train`."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import re
from collections.abc import Sequence

from ml_collections import config_dict

from metabin_jax.errors import UserError
from metabin_jax.repro.jobs import Catalogue
from metabin_jax.repro.types import Arm, Entry, Study
from metabin_jax.runtime.run_folder import flatten

_SEED = "train.seed"


def load(path: pathlib.Path, scale: str, catalogue: Catalogue) -> Arm:
  """Reads an arm: what the file's configuration changes in the common one.

  Args:
    path: a Python file with `get_config(scale)`, which returns a whole
      unresolved configuration.
    scale: "quick" or "full".
    catalogue: the arms that are there, and the common configuration.

  Returns:
    The arm, named after the file; the seed comes from the command line.

  Raises:
    UserError: if the file cannot be used or its name is taken.
  """
  name = path.stem
  if not re.fullmatch(r"[A-Za-z0-9_]+", name):
    raise UserError(
      f"--add-arm={path}: an arm is named after its file, with letters, digits "
      "and underscores alone; rename the file."
    )
  if name in catalogue.arms:
    raise UserError(
      f"--add-arm={path}: there is an arm {name!r} already; rename the file."
    )
  config = _run(path, scale)
  common = catalogue.base(scale, "dg")
  before, after = (
    flatten(c.copy_and_resolve_references().to_dict()) for c in (common, config)
  )
  changes = {
    key: value
    for key, value in after.items()
    if key != _SEED and (key not in before or before[key] != value)
  }
  return Arm(name, name, changes, note=f"from {path.name}")


def add(
  arms: Sequence[Arm], studies: Sequence[Study], catalogue: Catalogue
) -> tuple[list[Study], Catalogue]:
  """Adds a row for each arm to each study, and the arms to the catalogue."""
  rows = tuple(Entry(arm.title, arm.name) for arm in arms)
  extended = [
    dataclasses.replace(study, entries=study.entries + rows)
    for study in studies
  ]
  known = {**catalogue.arms, **{arm.name: arm for arm in arms}}
  return extended, catalogue._replace(arms=known)


def _run(path: pathlib.Path, scale: str) -> config_dict.ConfigDict:
  """What the file's get_config returns."""
  try:
    spec = importlib.util.spec_from_file_location("own_arm", path)
    if spec is None or spec.loader is None:
      raise UserError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(scale)
  # The file is the user's program: whatever it raises is theirs to mend.
  except Exception as error:
    raise UserError(
      f"--add-arm={path} cannot be used ({type(error).__name__}: {error}); "
      "give a Python file with get_config(scale) that returns a configuration, "
      "WORKSPACE.md has one."
    ) from error
  if not isinstance(config, config_dict.ConfigDict):
    raise UserError(
      f"--add-arm={path}: get_config returns {type(config).__name__}; return "
      "what metabin_jax.repro.scales.get_config(scale, 'dg') gives, changed."
    )
  return config
