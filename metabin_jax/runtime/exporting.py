"""Trained networks as files that other programs run, checked before they stay.

The program in the file is what `Extractor` computes behind its resizing: pixels
in, embeddings out, in float32, for any number of images.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from metabin_jax import __version__
from metabin_jax.errors import UserError
from metabin_jax.evaluation import extract
from metabin_jax.evaluation.table import save_json
from metabin_jax.interop import folding, formats
from metabin_jax.ops import convolution
from metabin_jax.runtime import experiment, resolve, scoring

LIMIT = 1e-4
# Sizes that the file is called with, the last one again and again.
_BATCHES = (1, 35, 64)


class Parity(NamedTuple):
  """How far a file is from the package.

  Attributes:
    images: how many were compared.
    difference: the largest between two entries of embeddings.
    relative: likewise, each as a part of its embedding's length, since only
      directions are compared; this is what `LIMIT` is for.
  """

  images: int
  difference: float
  relative: float


class Exported(NamedTuple):
  """What has been written."""

  parity: Parity
  card: dict[str, Any]


def export(
  run: scoring.LoadedRun,
  out: pathlib.Path,
  images: np.ndarray,
  *,
  flip: bool | None = None,
) -> Exported:
  """Writes a network to a file, and what is to be known beside it.

  Args:
    run: from `scoring.load_run`.
    out: ends in .stablehlo or .onnx; `out` + ".json" is written too. Each is
      there in full or not at all; a kill between them leaves a card whose
      digest is of no file.
    images: uint8 [N, H, W, 3] of the network's size, to compare the file as it
      lies on the disk with the package.
    flip: add the embedding of the mirrored image; None does as the run is
      configured.

  Returns:
    The comparison and the card.

  Raises:
    UserError: for another ending, a package that is missing, a network that
      the format has no words for, and a file that differs from the package by
      more than `LIMIT`; nothing is written then.
  """
  formats.check_suffix("the file", out)
  form = formats.format_of(out)
  form.require()
  flip = run.config.eval.flip if flip is None else flip
  network = _in_float32(run)
  variables = jax.device_get(dict(run.variables))
  card = _card(run.card, flip)
  out.parent.mkdir(parents=True, exist_ok=True)
  part = out.with_name(f".{out.name}.part-{os.getpid()}")
  card_part = part.with_name(f"{part.name}.json")
  devices = _exact_devices()
  try:
    with jax.default_device(devices[0]):
      form.save(part, _fold(network, variables, flip, images.shape[1:]), card)
      found = _embed(form.load(part), images)
    embed = extract.make_embedder(
      network, variables, _BATCHES[-1], flip=flip, devices=devices
    )
    parity = compare(found, embed(images))
    if not parity.relative <= LIMIT:  # NaN is a difference too
      raise UserError(
        f"{out} is not written: it would differ from the package by "
        f"{parity.relative:.1e} of an embedding's length, and {LIMIT:.0e} is "
        "the limit."
      )
    card["file"] = {
      "name": out.name,
      "sha256": hashlib.sha256(part.read_bytes()).hexdigest(),
      "metabin_jax": __version__,
      **form.describe(),
    }
    card["parity"] = parity._asdict()
    save_json(card_part, card)
    os.replace(card_part, card_file(out))
    os.replace(part, out)
  finally:
    part.unlink(missing_ok=True)
    card_part.unlink(missing_ok=True)
  return Exported(parity, card)


def card_file(out: pathlib.Path) -> pathlib.Path:
  """Where the card of a file stands."""
  return out.with_name(f"{out.name}.json")


def compare(found: np.ndarray, wanted: np.ndarray) -> Parity:
  """Compares the embeddings of a file with those of the package."""
  if found.shape != wanted.shape or found.dtype != wanted.dtype:
    raise UserError(
      f"the file gives {found.dtype} {found.shape} and the package "
      f"{wanted.dtype} {wanted.shape}."
    )
  difference = np.max(np.abs(found.astype(np.float64) - wanted), axis=1)
  length = np.linalg.norm(wanted.astype(np.float64), axis=1)
  relative = difference / np.maximum(length, np.finfo(np.float32).tiny)
  return Parity(len(wanted), float(difference.max()), float(relative.max()))


def _in_float32(run: scoring.LoadedRun) -> Any:
  """The network of a run; of one that computes in 16 bits, in 32."""
  data = resolve.to_dict(run.config)
  data["model"]["dtype"] = "float32"
  config = resolve.resolve(resolve.from_dict(data))
  classes = run.variables["params"]["classifier"].shape[1]
  return experiment.create_network(config, classes)


def _fold(network, variables, flip: bool, shape: tuple[int, ...]) -> Any:
  (count,) = jax_export.symbolic_shape("n")
  spec = jax.ShapeDtypeStruct((count, *shape), jnp.uint8)

  def embed(images):
    return extract.embed_pixels(network, flip, variables, images)

  with convolution.portable():
    return folding.fold(embed, spec)


def _exact_devices() -> list[jax.Device]:
  """The CPU: others may take float32 for less, here and in the file."""
  try:
    return jax.local_devices(backend="cpu")[:1]
  except RuntimeError:  # JAX_PLATFORMS leaves it out
    return jax.local_devices()[:1]


def _embed(
  call: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> np.ndarray:
  parts, sizes, start = [], list(_BATCHES), 0
  while start < len(images):
    size = sizes.pop(0) if sizes else _BATCHES[-1]
    parts.append(call(images[start : start + size]))
    start += size
  return np.concatenate(parts)


def _card(card: dict[str, Any], flip: bool) -> dict[str, Any]:
  size = [card["input"]["height_px"], card["input"]["width_px"]]
  return {
    **card,
    "input": {**card["input"], "dtype": "uint8", "shape": ["n", *size, 3]},
    "embedding": {**card["embedding"], "flip": flip},
  }
