"""State dicts in files: safetensors, NumPy archives, PyTorch's files.

What a file is, its content says and not its name. Pickles are opened by
`torch.load(weights_only=True)` alone, which runs no code of theirs.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pathlib
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError

# Before it, weights_only=True could be got round (CVE-2025-32434).
_SAFE_TORCH = (2, 6)
# Where training programs put the weights, beside optimizers and counters.
_NESTED = ("state_dict", "model", "net", "network")
_PARALLEL = "module."  # torch.nn.DataParallel's prefix
_PICKLE = b"\x80"
# What our packages are known to raise on broken files.
_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
SUFFIXES = (".safetensors", ".npz", ".pth")


class StateDict(NamedTuple):
  """Arrays of a weight file.

  Attributes:
    arrays: by key; float16 and bfloat16 as float32.
    origin: where they come from, as the user wrote it.
    sha256: of the file.
  """

  arrays: dict[str, np.ndarray]
  origin: str
  sha256: str


def load(path: pathlib.Path, origin: str = "") -> StateDict:
  """Reads a weight file.

  Args:
    path: safetensors, .npz or PyTorch file.
    origin: what to call it; "" takes the path.

  Returns:
    The arrays below the first of the keys "state_dict", "model", ... that the
    file has, or all of them; a "module." in front of every key is removed.

  Raises:
    UserError: if the file is missing, damaged, of no known format, holds
      anything but arrays, or needs a package that is not installed.
  """
  try:
    with open(path, "rb") as file:
      head = file.read(9)
      file.seek(0)
      digest = hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise UserError(
      f"the weights {path} cannot be read ({error.strerror}); check the path."
    ) from error
  if head[8:] == b"{":
    found = _load_safetensors(path)
  elif zipfile.is_zipfile(path) and _is_numpy(path):
    found = _load_numpy(path)
  elif head[:1] == _PICKLE or zipfile.is_zipfile(path) or _is_tar(path):
    found = _load_torch(path)
  else:
    raise UserError(
      f"{path} is not a weight file, or not a whole one; use safetensors, .npz "
      "or PyTorch's .pth."
    )
  return StateDict(_plain(found, path), origin or str(path), digest)


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes a state dict; the file is there in full or not at all.

  Args:
    path: ends in .safetensors, .npz or .pth. A .pth file holds the tensors
      under the key "model", as the reference's checkpoints do.
    arrays: by key.

  Raises:
    UserError: for another ending, or a package that is not installed.
  """
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise UserError(
      f"{path} has an ending that says no format; choose one of "
      f"{', '.join(SUFFIXES)}."
    )
  part = path.with_name(f".{path.name}.part")
  path.parent.mkdir(parents=True, exist_ok=True)
  try:
    if suffix == ".safetensors":
      _package("safetensors.numpy", "weights").save_file(dict(arrays), part)
    elif suffix == ".npz":
      with open(part, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    else:
      torch = _package("torch", "torch")
      tensors = {
        key: torch.from_numpy(np.array(array)) for key, array in arrays.items()
      }
      torch.save({"model": tensors}, part)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def _load_safetensors(path: pathlib.Path) -> Mapping[str, Any]:
  numpy = _package("safetensors.numpy", "weights")
  error_type = _package("safetensors", "weights").SafetensorError
  try:
    return numpy.load_file(path)
  except (*_BROKEN, error_type) as error:
    raise _damaged(path, error) from error


def _is_numpy(path: pathlib.Path) -> bool:
  with zipfile.ZipFile(path) as archive:
    names = archive.namelist()
  return all(name.endswith(".npy") for name in names)


def _load_numpy(path: pathlib.Path) -> Mapping[str, Any]:
  try:
    # Opened here: NumPy leaves a damaged file open. Without allow_pickle an
    # array of Python objects is refused.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
      return {key: archive[key] for key in archive.files}
  except _BROKEN as error:
    raise _damaged(path, error) from error


def _is_tar(path: pathlib.Path) -> bool:
  return tarfile.is_tarfile(path)  # PyTorch's files of before version 1


def _load_torch(path: pathlib.Path) -> Mapping[str, Any]:
  torch = _package("torch", "torch")
  version = tuple(int(part) for part in torch.__version__.split(".")[:2])
  if version < _SAFE_TORCH:
    raise UserError(
      f"{path} is a PyTorch file, and PyTorch {torch.__version__} can be made "
      "to run code by one; install version "
      f"{'.'.join(map(str, _SAFE_TORCH))} or later."
    )
  try:
    found = torch.load(path, map_location="cpu", weights_only=True)
  except pickle.UnpicklingError as error:
    reason = str(error).split("\n")[0]
    raise UserError(
      f"{path} is refused: it holds more than weights, and opening it could "
      f"run code ({reason}). If you trust it, save its state dict alone, as "
      ".safetensors, where it came from."
    ) from error
  except (*_BROKEN, RuntimeError) as error:
    raise _damaged(path, error) from error
  if not isinstance(found, Mapping):
    raise UserError(
      f"{path} holds a {type(found).__name__} and no state dict; save "
      "model.state_dict() alone."
    )
  return found


def _plain(found: Mapping[str, Any], path: pathlib.Path) -> dict[str, Any]:
  """The state dict within, as NumPy arrays."""
  for name in _NESTED:
    if isinstance(found.get(name), Mapping):
      found = found[name]
      break
  arrays = {}
  for key, value in found.items():
    array = _array(value)
    if array is None:
      raise UserError(
        f"{path} is no state dict: {key!r} is a {type(value).__name__} and no "
        "array of numbers; save model.state_dict() alone."
      )
    arrays[str(key)] = array
  if not arrays:
    raise UserError(f"{path} holds no arrays; name a file with weights.")
  if all(key.startswith(_PARALLEL) for key in arrays):
    arrays = {key.removeprefix(_PARALLEL): a for key, a in arrays.items()}
  return arrays


def _array(value: Any) -> np.ndarray | None:
  if hasattr(value, "detach"):  # a tensor; PyTorch itself is not imported here
    value = value.detach()
    half = value.is_floating_point() and value.element_size() == 2
    value = (value.float() if half else value).numpy()
  if not isinstance(value, np.ndarray):
    return None
  if value.dtype.name in ("float16", "bfloat16"):
    return value.astype(np.float32)
  return value if value.dtype.kind in "fiub" else None


def _package(name: str, extra: str) -> ModuleType:
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise UserError(
      f"this needs the package {name.split('.')[0]}; install it with "
      f"`pip install -e '.[{extra}]'` in the repository's folder, or use an "
      ".npz file."
    ) from error


def _damaged(path: pathlib.Path, error: Exception) -> UserError:
  reason = str(error).split("\n")[0] or type(error).__name__
  return UserError(
    f"{path} is damaged or incomplete ({reason}); copy or fetch it again."
  )
