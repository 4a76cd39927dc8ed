"""Time and memory of the base step and the meta step on this device.

  python experiments/benchmarks/iteration.py --json=out.json
  python experiments/benchmarks/iteration.py --width=0.5 --batch=40 \
    --height=64 --image-width=32 --repeats=10

Prints, for the base step and for the meta step in first order and in second
order by both ways of computing it: compile seconds, temporary memory as the
compiler reports it, and the median, smallest and largest seconds of a call.
The ways are timed in turn within one run, so that their ratios hold on a noisy
machine. `--repeats=0` compiles only. Random
pixels: the numbers say nothing about learning.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import metabin_jax
from metabin_jax import models
from metabin_jax.data.batches import Batch
from metabin_jax.methods import joint, metabin, objectives, optim, state


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--backbone", default="mobilenetv2")
  parser.add_argument("--width", type=float, default=1.4)
  parser.add_argument("--norm", default="bin")
  parser.add_argument("--batch", type=int, default=80, help="multiple of 20")
  parser.add_argument("--height", type=int, default=256)
  parser.add_argument("--image-width", type=int, default=128)
  parser.add_argument("--classes", type=int, default=18530)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  results = measure(args)
  for name, row in results["steps"].items():
    line = (
      f"{name:16} compile {row['compile_s']:6.1f} s  "
      f"temporary {row['temporary_mib']:8.0f} MiB  "
      f"accessed {row['bytes_accessed_gib']:7.1f} GiB"
    )
    if args.repeats:
      line += (
        f"  call {row['median_s']:.4f} s ({row['min_s']:.4f} to "
        f"{row['max_s']:.4f})"
      )
    print(line)
  if args.json:
    args.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(args: argparse.Namespace) -> dict:
  """Compiles every step, then times them in turn."""
  network = models.create(
    args.backbone,
    norm=args.norm,
    num_classes=args.classes,
    width=args.width,
    dtype=jnp.dtype(args.dtype).type,
  )
  variables = models.init_variables(
    network, jax.random.key(0), args.height, args.image_width
  )
  tx, tx_balance = optim.make_params_tx(), optax.sgd(0.1)
  start = state.create_state(variables, tx, tx_balance)
  base, mtrain, mtest = make_batches(args)
  steps = make_steps(network, tx, tx_balance)
  calls, rows = {}, {}
  for name, step in steps.items():
    batches = (base,) if name == "base" else (mtrain, mtest)
    began = time.perf_counter()
    compiled = jax.jit(step).lower(start, *batches).compile()
    took = time.perf_counter() - began
    memory = compiled.memory_analysis()
    rows[name] = {
      "compile_s": took,
      "temporary_mib": memory.temp_size_in_bytes / 2**20,
      "bytes_accessed_gib": compiled.cost_analysis()["bytes accessed"] / 2**30,
    }
    calls[name] = (compiled, jax.device_put(batches))
    if args.repeats:
      jax.block_until_ready(compiled(start, *calls[name][1]))
  seconds: dict[str, list[float]] = {name: [] for name in calls}
  for _ in range(args.repeats):
    for name, (compiled, batches) in calls.items():
      began = time.perf_counter()
      jax.block_until_ready(compiled(start, *batches))
      seconds[name].append(time.perf_counter() - began)
  for name, taken in seconds.items() if args.repeats else ():
    rows[name] |= {
      "median_s": statistics.median(taken),
      "min_s": min(taken),
      "max_s": max(taken),
    }
  return {
    "arguments": {k: str(v) for k, v in vars(args).items() if k != "json"},
    "device": jax.devices()[0].device_kind,
    "processor": platform.processor() or platform.machine(),
    "versions": {
      "metabin_jax": metabin_jax.__version__,
      "jax": jax.__version__,
      "python": platform.python_version(),
    },
    "device_peak_mib": peak_mib(),
    "steps": rows,
  }


def make_steps(network, tx, tx_balance) -> dict:
  """The base step, and the meta step in its three forms."""
  make = objectives.make_objective
  rate = optax.constant_schedule(0.01)
  steps = {
    "base": joint.make_base_step(network, make(("ce", "triplet")), tx, rate)
  }
  for name, second_order, by in (
    ("meta first", False, "reverse"),
    ("meta reverse", True, "reverse"),
    ("meta forward", True, "forward"),
  ):
    steps[name] = metabin.make_meta_step(
      network,
      make(("shuffle", "triplet", "scatter")),
      make(("triplet",)),
      tx_balance,
      rate,
      second_order=second_order,
      second_order_by=by,
    )
  return steps


def make_batches(args) -> tuple[Batch, Batch, Batch]:
  """A base batch of five domains, split 3 to 2 for the meta step."""
  random = np.random.default_rng(0)

  def batch(domains):
    rows = args.batch // 5 * domains
    shape = (rows, args.height, args.image_width, 3)
    return Batch(
      random.integers(0, 256, shape, dtype=np.uint8),
      (np.arange(rows) // 4).astype(np.int32),
      (np.arange(rows) * domains // rows).astype(np.int32),
    )

  return batch(5), batch(3), batch(2)


def peak_mib() -> float | None:
  """Peak memory of the device, where it keeps count."""
  stats = jax.devices()[0].memory_stats() or {}
  peak = stats.get("peak_bytes_in_use")
  return peak / 2**20 if peak is not None else None


if __name__ == "__main__":
  main()
