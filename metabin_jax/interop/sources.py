"""Where a state dict comes from: a file, or a repository of Hugging Face."""

from __future__ import annotations

import importlib
import json
import pathlib
import re
from types import ModuleType

import numpy as np

from metabin_jax.errors import UserError
from metabin_jax.interop import weight_files
from metabin_jax.models import reid

HUB = "hf:"
# The first that a repository has is read.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_HUB_CARD = "config.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@.+)?", re.ASCII)


def open_state(text: str) -> weight_files.StateDict:
  """Reads the weights that a user names.

  Args:
    text: a file, or "hf:OWNER/NAME" with "@REVISION" behind it or not.

  Returns:
    The arrays.

  Raises:
    UserError: as `weight_files.load` does; for a name of another form; if the
      repository or the network cannot be reached; if the repository says that
      its network wants pixels that are normalized in another way than ours.
  """
  if not text.startswith(HUB):
    return weight_files.load(pathlib.Path(text))
  if not _HUB_NAME.fullmatch(text.removeprefix(HUB)):
    raise UserError(
      f"{text} names no repository; write {HUB}OWNER/NAME, with @REVISION or "
      "not."
    )
  name, _, revision = text.removeprefix(HUB).partition("@")
  try:
    hub = importlib.import_module("huggingface_hub")
  except ImportError as error:
    raise UserError(
      f"{text} needs the package huggingface_hub; install it with `pip install "
      "-e '.[weights]'` in the repository's folder, or fetch the file by hand "
      "and name it."
    ) from error
  reasons = []
  for file in _HUB_FILES:
    try:
      path = _fetch(hub, name, file, revision or None)
    except Exception as error:  # the package has many, over several versions
      reasons.append(str(error).strip().split("\n")[0] or type(error).__name__)
      continue
    _check_card(hub, name, revision, text)
    return weight_files.load(pathlib.Path(path), text)
  raise UserError(
    f"{text} cannot be fetched ({'; '.join(dict.fromkeys(reasons))}); check "
    "name and network, or fetch the file by hand and name it."
  )


def _fetch(hub: ModuleType, name: str, file: str, revision: str | None) -> str:
  """Downloads a file, or finds it in the cache where there is no network."""
  try:
    # Asks once; the download would ask for a minute whether there is a network.
    hub.get_hf_file_metadata(hub.hf_hub_url(name, file, revision=revision))
  except Exception as reason:
    try:
      return hub.hf_hub_download(
        name, file, revision=revision, local_files_only=True
      )
    except Exception:  # what is not in the cache either
      raise reason from None
  return hub.hf_hub_download(name, file, revision=revision)


def _check_card(hub, name: str, revision: str, text: str) -> None:
  """Refuses weights for pixels of another mean or deviation."""
  try:
    path = _fetch(hub, name, _HUB_CARD, revision or None)
    card = json.loads(pathlib.Path(path).read_bytes())
  except Exception:  # no card says nothing
    return
  wanted = card.get("pretrained_cfg", {}) if isinstance(card, dict) else {}
  for key, ours in (("mean", reid.PIXEL_MEAN), ("std", reid.PIXEL_STD)):
    theirs = wanted.get(key)
    if theirs is None:
      continue
    if not np.allclose(theirs, np.divide(ours, 255), atol=1e-3):
      raise UserError(
        f"{text} is for pixels of {key} {theirs}; networks here have "
        f"ImageNet's {tuple(round(v / 255, 3) for v in ours)}: take other "
        "weights."
      )
