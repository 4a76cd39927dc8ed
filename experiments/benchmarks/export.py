"""Exported networks of full size: how far from the package, and how fast.

  python experiments/benchmarks/export.py --json=FILE

Needs the extra `onnx`. Weights and rho are random, the running statistics those
of 12 rendered pictures. For each network and format: seconds of writing and
comparing, size, largest difference on 100 rendered pictures, and how many
images a second file and package embed in calls of 32, fastest of three.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import record

from metabin_jax import default_config, models
from metabin_jax.data import sample_pictures
from metabin_jax.evaluation import extract
from metabin_jax.interop import formats
from metabin_jax.runtime import experiment, exporting, resolve, scoring

NETWORKS = {"mobilenetv2": 1.4, "resnet50": 1.0}
_BATCH = 32
_TRIES = 3


def main() -> None:
  """Measures, prints a table, and writes JSON."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--norm", default="bin")
  parser.add_argument("--height", type=int, default=256)
  parser.add_argument("--width", type=int, default=128)
  parser.add_argument("--images", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  images = sample_pictures.draw(args.images, args.height, args.width)
  rows = []
  for backbone, width in NETWORKS.items():
    run = make_run(backbone, width, args)
    batch = images[:_BATCH]
    embed = extract.make_embedder(run.network, run.variables, _BATCH)
    package = images_per_s(embed, batch)
    for suffix in formats.SUFFIXES:
      with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / f"network{suffix}"
        begin = time.perf_counter()
        done = exporting.export(run, out, images)
        row = {
          "backbone": backbone,
          "width": width,
          "file": suffix,
          "seconds": round(time.perf_counter() - begin, 1),
          "megabytes": round(out.stat().st_size / 1e6, 1),
          **done.parity._asdict(),
          "images_per_s": images_per_s(formats.format_of(out).load(out), batch),
          "package_images_per_s": package,
        }
      rows.append(row)
      print(row, flush=True)
  if args.json:
    record.save(args.json, args, {"rows": rows})


def make_run(
  backbone: str, width: float, args: argparse.Namespace
) -> scoring.LoadedRun:
  """A network of random weights, as if it had been loaded."""
  config = default_config.get_config()
  config.model.backbone, config.model.width = backbone, width
  config.model.norm = args.norm
  config.data.height_px, config.data.width_px = args.height, args.width
  if args.norm not in models.registry.balanced_norms():
    config.method = "joint"
  config = resolve.resolve(config)
  network = experiment.create_network(config, 100)
  key = jax.random.key(args.seed)
  variables = models.init_variables(network, key, args.height, args.width)
  random = np.random.default_rng(args.seed)

  def change(path: Any, array: Any) -> Any:
    name = path[-1].key
    if name == "rho":
      return random.uniform(0, 1, array.shape).astype(np.float32)
    if name.endswith("scale"):
      return array * random.uniform(0.5, 1.5, array.shape).astype(np.float32)
    if name.endswith("bias"):
      return array + random.normal(0, 0.2, array.shape).astype(np.float32)
    return array

  variables = jax.tree_util.tree_map_with_path(change, dict(variables))
  pictures = sample_pictures.draw(12, args.height, args.width)

  @jax.jit
  def move(variables: Any) -> Any:
    _, moved = network.apply(
      variables, pictures, mode="update", mutable=["batch_stats"]
    )
    return variables | moved

  for _ in range(12):
    variables = move(variables)
  variables = jax.device_get(variables)
  made = SimpleNamespace(step=0, metadata={})
  card = scoring.make_card(pathlib.Path("random"), made, config, variables)
  return scoring.LoadedRun(0, config, network, variables, [], card)


def images_per_s(
  embed: Callable[[np.ndarray], np.ndarray], batch: np.ndarray
) -> float:
  """Of the fastest call, after one that compiles."""
  embed(batch)
  seconds = []
  for _ in range(_TRIES):
    begin = time.perf_counter()
    embed(batch)
    seconds.append(time.perf_counter() - begin)
  return round(len(batch) / min(seconds), 1)


if __name__ == "__main__":
  main()
