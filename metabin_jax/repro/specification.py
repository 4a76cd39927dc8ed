"""Table S1's other half: size, memory and time of MetaBIN's networks."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from metabin_jax import models
from metabin_jax.errors import UserError
from metabin_jax.repro import published

# Title of the row -> name and channel multiplier.
BACKBONES: Mapping[str, tuple[str, float]] = {
  "MobileNetV2 x1.0": ("mobilenetv2", 1.0),
  "MobileNetV2 x1.4": ("mobilenetv2", 1.4),
  "ResNet-18": ("resnet18", 1.0),
  "ResNet-34": ("resnet34", 1.0),
  "ResNet-50": ("resnet50", 1.0),
  "ResNet-101": ("resnet101", 1.0),
  "ResNet-152": ("resnet152", 1.0),
}
_COLUMNS = (
  ("backbone", "backbone", str),
  ("embedding", "embedding_dim", "{:,}".format),
  ("norm layers", "norm_layers", "{:,}".format),
  ("rho", "num_rho", "{:,}".format),
  ("parameters", "parameters", "{:,}".format),
  ("published (millions)", "published_millions", "{:.2f}".format),
  ("neck", "neck_parameters", "{:,}".format),
  ("classifier", "classifier_parameters", "{:,}".format),
  ("GFLOP an image", "flops_per_image", lambda v: f"{v / 1e9:.2f}"),
  ("weights (MB)", "argument_bytes", lambda v: f"{v / 1e6:.1f}"),
  ("scratch (MB)", "scratch_bytes", lambda v: f"{v / 1e6:.1f}"),
  ("ms an image", "seconds_per_image", lambda v: f"{v * 1e3:.2f}"),
)


def measure(
  backbones: Sequence[str] = (),
  height: int = 256,
  width: int = 128,
  batch: int = 64,
  repeats: int = 10,
) -> list[dict[str, Any]]:
  """Counts all networks of Table S1 and times some of them.

  Args:
    backbones: keys of `BACKBONES` to compile and run; the others are counted
      alone, which needs no memory.
    height: image height in pixels.
    width: image width in pixels.
    batch: images of a call.
    repeats: timed calls, at least 1, after one that is not timed.

  Returns:
    One row a network: "backbone", "embedding_dim", "norm_layers", "num_rho",
    "parameters" (the paper's count: convolutions and affine maps of the
    backbone), "published_millions", "neck_parameters", "classifier_parameters"
    (for the published 18,530 persons). For those that ran also
    "flops_per_image" (XLA's estimate, None if it has none), "argument_bytes"
    (weights and images) and "scratch_bytes" of the compiled program,
    "seconds_per_image" (median), "batch", "height", "width", "repeats",
    "device", "cores".

  Raises:
    UserError: for an unknown name or a size below 1.

  Source: MetaBIN, supplement, Table S1.
  """
  unknown = sorted(set(backbones) - set(BACKBONES))
  if unknown:
    raise UserError(
      f"{unknown[0]!r} is no row of Table S1; use {', '.join(BACKBONES)}."
    )
  sizes = {"height": height, "width": width, "batch": batch, "repeats": repeats}
  for name, value in sizes.items():
    if value < 1:
      raise UserError(f"{name} is {value}; it must be at least 1.")
  rows = []
  for title in BACKBONES:
    row = _count(title)
    if title in backbones:
      row |= _run(title, **sizes)
    rows.append(row)
  return rows


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
  """A table of `measure`'s rows, and below it what was measured on what."""
  lines = [
    "| " + " | ".join(head for head, _, _ in _COLUMNS) + " |",
    "|" + "---|" * len(_COLUMNS),
  ]
  for row in rows:
    cells = [
      "-" if row.get(key) is None else show(row[key])
      for _, key, show in _COLUMNS
    ]
    lines.append("| " + " | ".join(cells) + " |")
  lines += [
    "",
    "Parameters: convolutions and affine maps of the backbone, as the paper "
    "counts, without rho, neck and classifier (of "
    f"{published.NUM_PERSONS:,} persons). FLOP: XLA's estimate.",
  ]
  for row in rows:
    if "device" in row:
      lines.append(
        f"Memory and time: inference in float32, {row['batch']} images of "
        f"{row['height']}x{row['width']}, median of {row['repeats']} calls; "
        f"{row['device']}, {row['cores']} cores of the host."
      )
      break
  return "\n".join(lines) + "\n"


def _create(title: str, num_classes: int) -> models.ReIDNetwork:
  name, multiplier = BACKBONES[title]
  return models.create(
    name, norm="bin", num_classes=num_classes, width=multiplier
  )


def _count(title: str) -> dict[str, Any]:
  network = _create(title, published.NUM_PERSONS)
  # Numbers do not depend on the image's size; a small one is traced faster.
  images = jax.ShapeDtypeStruct((2, 64, 32, 3), np.uint8)
  shapes = jax.eval_shape(
    lambda key, x: network.init(key, x, mode="hold"), jax.random.key(0), images
  )
  params = shapes["params"]
  gates = jax.tree.leaves(shapes["balance"])
  return {
    "backbone": title,
    "embedding_dim": params["classifier"].shape[0],
    "norm_layers": len(gates),
    "num_rho": _size(gates),
    "parameters": _size(params["backbone"]),
    "published_millions": published.PARAMETERS_S1[title],
    "neck_parameters": _size(params["neck"]),
    "classifier_parameters": _size(params["classifier"]),
  }


def _run(
  title: str, *, height: int, width: int, batch: int, repeats: int
) -> dict[str, Any]:
  # Retrieval needs no classifier.
  network = _create(title, 1)
  variables = models.init_variables(network, jax.random.key(0), height, width)
  images = jax.device_put(
    np.random.default_rng(0).integers(
      0, 256, (batch, height, width, 3), dtype=np.uint8
    )
  )

  def embed(variables, images):
    outputs: Any = network.apply(variables, images, mode="eval")
    return outputs.embedding

  compiled = jax.jit(embed).lower(variables, images).compile()
  memory: Any = compiled.memory_analysis()
  cost = compiled.cost_analysis() or {}
  flops = cost.get("flops")
  seconds = []
  for number in range(repeats + 1):
    start = time.perf_counter()
    jax.block_until_ready(compiled(variables, images))
    if number:
      seconds.append(time.perf_counter() - start)
  return {
    "flops_per_image": flops / batch if flops and flops > 0 else None,
    "argument_bytes": getattr(memory, "argument_size_in_bytes", None),
    "scratch_bytes": getattr(memory, "temp_size_in_bytes", None),
    "seconds_per_image": statistics.median(seconds) / batch,
    "batch": batch,
    "height": height,
    "width": width,
    "repeats": repeats,
    "device": jax.devices()[0].device_kind,
    "cores": _cores(),
  }


def _size(tree: Any) -> int:
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _cores() -> int:
  """Cores that this process may run on."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
