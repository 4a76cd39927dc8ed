"""One iteration of training on 1, 2, 4, ... devices under each runner.

  python experiments/benchmarks/devices.py --json=out.json
  python experiments/benchmarks/devices.py --pretend=8 --json=out.json

The batch stays the same, so twice the devices should take half the time. With
`--pretend` the devices are threads of this processor: such times show what the
splitting costs, not what it gains.
"""

from __future__ import annotations

import time

import device_options


def main() -> None:
  """Prints a Markdown table."""
  args = device_options.parse(
    __doc__,
    more=[("--repeats", {"type": int, "default": 5})],
    network="mobilenetv2:1.4",
    batch=80,
    height=256,
    width=128,
    classes=18530,
  )
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
  import steps

  from metabin_jax.runtime.parallel import RUNNERS, Runner

  start, step, batches = steps.make_training(args)
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
