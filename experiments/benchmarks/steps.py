"""Time, memory and roofline of the steps of training, and of embedding.

  python experiments/benchmarks/steps.py --norms=bn,bin,bin_naive --batch=20
  python experiments/benchmarks/steps.py --steps=embed --batch=64

Compiles every step of every network, norm arm and number type that the flags
name (`bin_naive`: naive_norms.py), then times all of them in turn within one
run, so that ratios hold on a noisy machine. `--repeats=0` compiles only.

  base              the ordinary update of all weights
  first             the meta update of rho, first order
  reverse, forward  the same in second order, by both ways
  iteration-first, iteration-reverse
                    base and meta update in one program, as training runs them
  embed             images to embeddings

Memory, operations and bytes are the compiler's account of its program. Random
pixels: the numbers say nothing about learning.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import time

import ceilings
import jax
import jax.numpy as jnp
import naive_norms
import numpy as np
import optax
import record

from metabin_jax import models
from metabin_jax.data.batches import Batch
from metabin_jax.methods import joint, metabin, objectives, optim, state
from metabin_jax.models import registry

STEPS = "base,first,reverse"
_MIB, _GIB = 2**20, 2**30


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--networks", default="mobilenetv2:1.4", help="NAME:WIDTH"
  )
  parser.add_argument("--norms", default="bin")
  parser.add_argument("--dtypes", default="float32")
  parser.add_argument("--steps", default=STEPS)
  parser.add_argument("--batch", type=int, default=80, help="multiple of 20")
  parser.add_argument("--height", type=int, default=256)
  parser.add_argument("--width", type=int, default=128, help="of the images")
  parser.add_argument("--classes", type=int, default=18530)
  parser.add_argument("--remat", action="store_true", help="model.remat")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  rows = measure(args)
  limits = ceilings.measure() if args.repeats else None
  for row in rows if args.repeats else ():
    row["bound_s"] = ceilings.bound_s(
      row["gflop"] * 1e9, row["accessed_gib"] * _GIB, row["dtype"], limits
    )
  print(to_markdown(rows))
  record.save(args.json, args, {"ceilings": limits, "rows": rows})


def measure(args: argparse.Namespace) -> list[dict]:
  """Compiles every case, then times them in turn.

  Returns:
    A row for each: names, `compile_s`, `temporary_mib`, `argument_mib`,
    `gflop`, `accessed_gib` and, unless `args.repeats` is 0, seconds.
  """
  cases = itertools.product(
    args.networks.split(","), args.norms.split(","), args.dtypes.split(",")
  )
  naive_norms.register()
  rows, calls = [], []
  for network, norm, dtype in cases:
    module = make_network(network, norm, dtype, args)
    for name in args.steps.split(","):
      if name in ("base", "embed") or norm in registry.balanced_norms():
        row = {"network": network, "norm": norm, "dtype": dtype, "step": name}
        call = prepare(module, name, args, row)
        rows.append(row)
        calls.append(call)
  taken = ceilings.in_turn(calls, args.repeats)
  for row, seconds in zip(rows, taken, strict=True):
    if seconds:
      row |= ceilings.spread(seconds)
      # An iteration has a base batch and a meta batch.
      images = args.batch * (2 if "-" in row["step"] else 1)
      row["images_per_s"] = images / row["median_s"]
  return rows


def make_network(name, norm, dtype, args):
  """The network of NAME:WIDTH."""
  backbone, _, width = name.partition(":")
  return models.create(
    backbone,
    norm=norm,
    num_classes=args.classes,
    width=float(width or 1),
    dtype=jnp.dtype(dtype).type,
    remat=getattr(args, "remat", False),
  )


def make_variables(network, args):
  """Its weights at the start."""
  return models.init_variables(
    network, jax.random.key(0), args.height, args.width
  )


def make_training(args):
  """State at the start, first-order iteration and batches of MetaBIN."""
  network = make_network(args.network, "bin", args.dtype, args)
  tx, tx_balance = optim.make_params_tx(), optax.sgd(0.1)
  variables = make_variables(network, args)
  start = jax.device_get(state.create_state(variables, tx, tx_balance))
  step = make_step(network, "iteration-first", tx, tx_balance)
  return start, step, make_batches(args)


def prepare(network, name, args, row):
  """Compiles one step, notes what it is; returns a call of it."""
  tx, tx_balance = optim.make_params_tx(), optax.sgd(0.1)

  def start():
    variables = make_variables(network, args)
    return state.create_state(variables, tx, tx_balance)

  held = [jax.jit(start)() if args.repeats else jax.eval_shape(start)]
  base, mtrain, mtest = make_batches(args)
  if name == "embed":

    def step(state, images):
      return state, network.apply(
        state.variables, images, mode="eval"
      ).embedding

    inputs = (base.image,)
  else:
    step = make_step(network, name, tx, tx_balance)
    inputs = (base, mtrain, mtest)
    if not name.startswith("iteration"):
      inputs = (base,) if name == "base" else (mtrain, mtest)
  began = time.perf_counter()
  program = jax.jit(step, donate_argnums=0).lower(held[0], *inputs).compile()
  row["compile_s"] = time.perf_counter() - began
  memory, cost = program.memory_analysis(), program.cost_analysis()
  row["temporary_mib"] = memory.temp_size_in_bytes / _MIB
  row["argument_mib"] = memory.argument_size_in_bytes / _MIB
  row["gflop"] = cost["flops"] / 1e9
  row["accessed_gib"] = cost["bytes accessed"] / _GIB
  placed = jax.device_put(inputs) if args.repeats else None

  def call():
    held[0], out = program(held[0], *placed)
    return out

  if args.repeats:
    jax.block_until_ready(call())
  return call


def make_step(network, name, tx, tx_balance):
  """A step of training by its name: (state, batch, ...) -> (state, metrics)."""
  make = objectives.make_objective
  rate = optax.constant_schedule(0.01)
  base = joint.make_base_step(network, make(("ce", "triplet")), tx, rate)
  if name == "base":
    return base
  order = name.removeprefix("iteration-")
  if order not in ("first", "reverse", "forward"):
    raise SystemExit(f"--steps: {name!r} is unknown; see --help.")
  meta = metabin.make_meta_step(
    network,
    make(("shuffle", "triplet", "scatter")),
    make(("triplet",)),
    tx_balance,
    rate,
    second_order=order != "first",
    second_order_by="forward" if order == "forward" else "reverse",
  )
  return metabin.make_train_step(base, meta) if order != name else meta


def make_batches(args) -> tuple[Batch, Batch, Batch]:
  """A base batch of five domains, split 3 to 2 for the meta step."""
  random = np.random.default_rng(0)

  def batch(domains):
    rows = args.batch * domains // 5
    shape = (rows, args.height, args.width, 3)
    return Batch(
      random.integers(0, 256, shape, dtype=np.uint8),
      (np.arange(rows) // 4).astype(np.int32),
      (np.arange(rows) * domains // rows).astype(np.int32),
    )

  return batch(5), batch(3), batch(2)


def to_markdown(rows: list[dict]) -> str:
  """A table of the rows."""
  timed = bool(rows) and "median_s" in rows[0]
  head = ["network", "norm", "type", "step", "temporary", "accessed", "TFLOP"]
  head += ["seconds (range)", "images/s", "of the bound"] * timed
  lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
  for row in rows:
    cells = [row[name] for name in ("network", "norm", "dtype", "step")]
    cells += [
      f"{row['temporary_mib'] / 1024:.2f} GiB",
      f"{row['accessed_gib']:.1f} GiB",
      f"{row['gflop'] / 1000:.3f}",
    ]
    if timed:
      cells += [
        f"{row['median_s']:.4g} ({row['min_s']:.4g} to {row['max_s']:.4g})",
        f"{row['images_per_s']:.0f}",
        f"{row['bound_s'] / row['median_s']:.2f}",
      ]
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines)


if __name__ == "__main__":
  main()
