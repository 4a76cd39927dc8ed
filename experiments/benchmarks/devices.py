"""One iteration of training on 1, 2, 4, ... devices under each runner.

  python experiments/benchmarks/devices.py --json=out.json
  python experiments/benchmarks/devices.py --pretend=8 --json=out.json

The batch stays the same, so twice the devices should take half the time. With
`--pretend` the devices are threads of this processor: such times show what the
splitting costs, not what it gains.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import time


def main() -> None:
  """Prints a Markdown table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--pretend", type=int, help="CPU devices")
  parser.add_argument("--network", default="mobilenetv2:1.4")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--batch", type=int, default=80, help="multiple of 20")
  parser.add_argument("--height", type=int, default=256)
  parser.add_argument("--width", type=int, default=128, help="of the images")
  parser.add_argument("--classes", type=int, default=18530)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  if args.pretend:
    flag = f"--xla_force_host_platform_device_count={args.pretend}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    os.environ["JAX_PLATFORMS"] = "cpu"
  rows = measure(args)
  print("| runner | devices | seconds (range) | of one device | compiled in |")
  print("|---|---|---|---|---|")
  for row in rows:
    print(
      f"| {row['runner']} | {row['devices']} | {row['median_s']:.4g} "
      f"({row['min_s']:.4g} to {row['max_s']:.4g}) | "
      f"{row['median_s'] / rows[0]['median_s']:.2f} | "
      f"{row['compile_s']:.0f} s |"
    )
  import record

  record.save(args.json, args, {"rows": rows})


def measure(args) -> list[dict]:
  """Every runner on every number of devices, timed in turn."""
  # Late: the number of devices is fixed when JAX starts.
  import ceilings
  import jax
  import optax
  import steps

  from metabin_jax.methods import optim, state
  from metabin_jax.runtime.parallel import RUNNERS, Runner

  network = steps.make_network(args.network, "bin", args.dtype, args)
  tx, tx_balance = optim.make_params_tx(), optax.sgd(0.1)
  variables = steps.make_variables(network, args)
  start = jax.device_get(state.create_state(variables, tx, tx_balance))
  step = steps.make_step(network, "iteration-first", tx, tx_balance)
  batches = steps.make_batches(args)
  counts = [
    count
    for count in (1, 2, 4, 8, 16)
    if count <= jax.device_count()
    and not any(len(batch.pid) % count for batch in batches)
  ]
  rows, calls = [], []
  for kind in RUNNERS:
    for count in counts if kind == RUNNERS[0] else counts[1:]:
      runner = Runner(kind, jax.devices()[:count])
      program = runner.compile(step)
      held = [runner.place(start)]
      placed = [runner.split(batch) for batch in batches]

      def call(program=program, held=held, placed=placed):
        held[0], metrics = program(held[0], *placed)
        return metrics

      began = time.perf_counter()
      jax.block_until_ready(call())
      compile_s = time.perf_counter() - began
      rows.append({"runner": kind, "devices": count, "compile_s": compile_s})
      calls.append(call)
  taken = ceilings.in_turn(calls, args.repeats)
  for row, seconds in zip(rows, taken, strict=True):
    row |= ceilings.spread(seconds)
  return rows


if __name__ == "__main__":
  main()
