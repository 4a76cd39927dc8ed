"""How far many devices part from one, in a network with corners.

  python experiments/benchmarks/agreement.py --pretend=8 --json=out.json

Every runner, and one device that gets the rows of each batch in another order,
train from the same weights on the same images. Sums are rounded in another
order there; a ReLU, a hardest pair or a divisor near zero makes more of it from
iteration to iteration. Shown are the largest relative differences of any loss
of an iteration to those of one device.
"""

from __future__ import annotations

import device_options

SHOWN = (1, 2, 3, 5, 10, 20)


def main() -> None:
  """Prints a Markdown table."""
  args = device_options.parse(
    __doc__,
    network="resnet18:0.25",
    batch=40,
    height=64,
    width=32,
    classes=500,
  )
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
  import steps

  from metabin_jax.runtime.parallel import RUNNERS, Runner

  start, step, batches = steps.make_training(args)

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
