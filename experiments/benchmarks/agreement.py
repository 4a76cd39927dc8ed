"""How far many devices part from one, in a network with corners.

  python experiments/benchmarks/agreement.py --pretend=8 --json=out.json

Every runner, and one device that gets the rows of each batch in another order,
train from the same weights on the same images. Sums are rounded in another
order there; a ReLU, a hardest pair or a divisor near zero makes more of it from
iteration to iteration. Shown are the largest relative differences of any loss
of an iteration to those of one device.
"""

from __future__ import annotations

import argparse
import os
import pathlib

SHOWN = (1, 2, 3, 5, 10, 20)


def main() -> None:
  """Prints a Markdown table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--pretend", type=int, help="CPU devices")
  parser.add_argument("--network", default="resnet18:0.25")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--batch", type=int, default=40, help="multiple of 20")
  parser.add_argument("--height", type=int, default=64)
  parser.add_argument("--width", type=int, default=32, help="of the images")
  parser.add_argument("--classes", type=int, default=500)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  if args.pretend:
    flag = f"--xla_force_host_platform_device_count={args.pretend}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    os.environ["JAX_PLATFORMS"] = "cpu"
  rows = measure(args)
  steps = [f"iteration {step}" for step in SHOWN]
  print("| | " + " | ".join(steps) + " |")
  print("|---" * (1 + len(SHOWN)) + "|")
  for row in rows:
    cells = [f"{row['differences'][str(step)]:.0e}" for step in SHOWN]
    print(f"| {row['name']} | " + " | ".join(cells) + " |")
  import record

  record.save(args.json, args, {"rows": rows})


def measure(args) -> list[dict]:
  """Largest relative difference to one device, of each way and iteration."""
  # Late: the number of devices is fixed when JAX starts.
  import jax
  import numpy as np
  import optax
  import steps

  from metabin_jax.methods import optim, state
  from metabin_jax.runtime.parallel import RUNNERS, Runner

  network = steps.make_network(args.network, "bin", args.dtype, args)
  tx, tx_balance = optim.make_params_tx(), optax.sgd(0.1)
  start = jax.device_get(
    state.create_state(steps.make_variables(network, args), tx, tx_balance)
  )
  step = steps.make_step(network, "iteration-first", tx, tx_balance)
  batches = steps.make_batches(args)

  def run(runner, arrange):
    """Losses of each iteration; all have the same images."""
    program, held, found = runner.compile(step), runner.place(start), []
    placed = [runner.split(arrange(batch)) for batch in batches]
    for _ in range(max(SHOWN)):
      held, metrics = program(held, *placed)
      found.append({k: float(v) for k, v in jax.device_get(metrics).items()})
    return found

  def shuffle(batch):
    order = np.random.default_rng(1).permutation(len(batch.pid))
    return type(batch)(*(array[order] for array in batch))

  def keep(batch):
    return batch

  one = Runner("jit", jax.devices()[:1])
  ways = {
    f"{jax.device_count()} devices, {kind}": (Runner(kind, jax.devices()), keep)
    for kind in RUNNERS
  }
  ways["1 device, rows in another order"] = (one, shuffle)
  ways["1 device, once more"] = (one, keep)
  whole = run(one, keep)
  return [
    {"name": name, "differences": differences(whole, run(*way))}
    for name, way in ways.items()
  ]


def differences(whole, other) -> dict[str, float]:
  """Largest relative difference of any loss, by iteration."""
  return {
    str(step): max(
      abs(other[step - 1][name] - value) / max(abs(value), 1e-6)
      for name, value in whole[step - 1].items()
    )
    for step in SHOWN
  }


if __name__ == "__main__":
  main()
