"""Depthwise convolution, XLA's grouped one against nine shifted products.

  python experiments/benchmarks/depthwise.py --json=out.json

Seconds of value and both gradients in turn within one run, and the compiler's
account of temporary memory, for maps of MobileNetV2 x1.4 at 256x128.
"""

from __future__ import annotations

import argparse
import functools
import pathlib

import ceilings
import jax
import jax.numpy as jnp
import numpy as np
import record

from metabin_jax.ops import convolution

# height, width, channels, stride
MAPS = (
  *((128, 64, 44, 1), (128, 64, 132, 2), (64, 32, 198, 1)),
  *((32, 16, 264, 1), (16, 8, 800, 1)),
)
FORMS = ("shifted", "grouped")


def main() -> None:
  """Prints a Markdown table."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--batch", type=int, default=20)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  rows = [measure(shape, args) for shape in MAPS]
  print("| map | channels | stride | shifted | grouped | grouped / shifted |")
  print("|---|---|---|---|---|---|")
  for (height, width, channels, stride), row in zip(MAPS, rows, strict=True):
    shifted, grouped = (row[form] for form in FORMS)
    cells = " | ".join(
      f"{1e3 * form['median_s']:.1f} ms, {form['temporary_mib']:.0f} MiB"
      for form in (shifted, grouped)
    )
    ratio = grouped["median_s"] / shifted["median_s"]
    print(
      f"| {height}x{width} | {channels} | {stride} | {cells} | {ratio:.1f} |"
    )
  record.save(args.json, args, {"maps": MAPS, "rows": rows})


def measure(shape, args) -> dict:
  """Both forms on one map."""
  height, width, channels, stride = shape
  random = np.random.default_rng(0)
  x, kernel = (
    jnp.asarray(random.standard_normal(size), args.dtype)
    for size in ((args.batch, height, width, channels), (3, 3, 1, channels))
  )
  programs, row = [], {}
  for form in FORMS:

    def loss(x, kernel, form=form):
      # Behind an activation and before a sum, as in the network.
      y = convolution.depthwise(
        jax.nn.relu6(x), kernel, stride=stride, form=form
      )
      return jnp.sum(jnp.square(y.astype(jnp.float32)))

    program = jax.jit(jax.value_and_grad(loss, (0, 1)))
    memory = program.lower(x, kernel).compile().memory_analysis()
    row[form] = {"temporary_mib": memory.temp_size_in_bytes / 2**20}
    jax.block_until_ready(program(x, kernel))
    programs.append(program)
  taken = ceilings.in_turn(
    [functools.partial(program, x, kernel) for program in programs],
    args.repeats,
  )
  for form, seconds in zip(FORMS, taken, strict=True):
    row[form] |= ceilings.spread(seconds)
  return row


if __name__ == "__main__":
  main()
