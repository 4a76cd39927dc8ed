r"""Adapting to a gallery: seconds for each of its images, beside embedding it.

  python experiments/benchmarks/adaptation.py --json=FILE

Networks of random weights at both scales of `metabin repro`, and random pixels:
the time hangs on neither. The gallery is in memory: no file is read. A first
call compiles; the fastest of the others counts. Adapting includes the pairing
and, as `metabin evaluate` has it, one pass over the gallery; embedding it after
that is one more. On a CPU, where a step of 64 images takes long:

  python experiments/benchmarks/adaptation.py --scale=full --images=96 \
    --tries=1 --rows "DualNorm, BNTA" --json=FILE
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import record

from metabin_jax import models
from metabin_jax.evaluation import adabn, extract
from metabin_jax.methods.bnta import Rules
from metabin_jax.repro import scales
from metabin_jax.repro.arms import ARMS
from metabin_jax.runtime import adaptation, experiment, resolve

MATCH = Rules(losses=("match",))
# Title -> arm, and how it is adapted.
ROWS: dict[str, tuple[str, Rules | None]] = {
  "DualNorm, AdaBN": ("bnta", None),
  "DualNorm, BNTA": ("bnta", Rules()),
  "MetaBIN, AdaBN": ("metabin", None),
  "MetaBIN, BNTA on bn": ("metabin", MATCH),
  "MetaBIN, BNTA on rho": ("metabin", MATCH._replace(groups=("rho",))),
  "MetaBIN, BNTA on bn + in + rho": (
    "metabin",
    MATCH._replace(groups=("bn", "in", "rho")),
  ),
}


def main() -> None:
  """Measures, prints rows, and writes JSON."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--scale", default="quick", choices=("quick", "full"))
  parser.add_argument("--images", type=int, default=240)
  parser.add_argument("--tries", type=int, default=3)
  parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  rows = []
  for title in args.rows:
    arm, rules = ROWS[title]
    config, network, variables = make(arm, args.scale)
    size = config.eval.batch_size
    shape = (args.images, config.data.height_px, config.data.width_px, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    names = [f"{number:06d}" for number in range(args.images)]

    def load(paths: Any, pictures: np.ndarray = pictures) -> np.ndarray:
      return pictures[[int(path) for path in paths]]

    def adapt(
      network: Any = network,
      variables: Any = variables,
      rules: Rules | None = rules,
      size: int = size,
      load: Any = load,
      names: list[str] = names,
    ) -> None:
      if rules is None:
        adabn.adapt(network, variables, load, names, size)
      else:
        adaptation.adapt(
          network, variables, load, names, rules=rules, batch_size=size
        )

    embed = extract.make_embedder(network, variables, size)
    row = {
      "title": title,
      "arm": arm,
      "images": args.images,
      "embed_ms_per_image": fastest(
        lambda embed=embed, pictures=pictures: embed(pictures), args
      ),
      "adapt_ms_per_image": fastest(adapt, args),
    }
    rows.append(row)
    print(row, flush=True)
  record.save(args.json, args, {"rows": rows})


def make(arm: str, scale: str) -> tuple[Any, Any, Any]:
  """Configuration, network and random weights of an arm."""
  config = scales.get_config(scale, "dg")
  config.update_from_flattened_dict(scales.overrides(ARMS[arm], "dg", scale))
  config = resolve.resolve(config)
  network = experiment.create_network(config, 100)
  height, width = config.data.height_px, config.data.width_px
  variables = models.init_variables(network, jax.random.key(0), height, width)
  return config, network, jax.device_get(dict(variables))


def fastest(work: Callable[[], Any], args: argparse.Namespace) -> float:
  """Milliseconds an image, of the fastest call after a first one."""
  seconds = []
  for number in range(args.tries + 1):
    start = time.perf_counter()
    work()
    if number:
      seconds.append(time.perf_counter() - start)
  return round(1e3 * min(seconds) / args.images, 3)


if __name__ == "__main__":
  main()
