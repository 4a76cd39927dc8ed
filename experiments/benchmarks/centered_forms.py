"""Normalization by ops/centered.py, and by the plain formulas in its place.

  python experiments/benchmarks/centered_forms.py --json=out.json

Seconds of a layer with its ReLU, forward and backward, in turn within one run,
and the compiler's account: temporary memory, and bytes in units of the map, for
maps of ResNet-50 at 256x128. Both forms keep no x - mean for the backward pass.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
from unittest import mock

import ceilings
import jax
import jax.numpy as jnp
import numpy as np
import record

from metabin_jax.ops import centered, normalization
from metabin_jax.ops.moments import Moments

# height, width, channels
MAPS = ((128, 64, 64), (64, 32, 256), (32, 16, 512), (16, 8, 1024))
LAYERS = ("bn", "bin")
FORMS = ("plain", "centered")


def main() -> None:
  """Prints a Markdown table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--batch", type=int, default=20)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--repeats", type=int, default=15)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  rows = [row for shape in MAPS for row in measure(shape, args)]
  print("| map | channels | layer | plain | centered | plain / centered |")
  print("|---|---|---|---|---|---|")
  for row in rows:
    plain, ours = (row[form] for form in FORMS)
    cells = " | ".join(
      f"{1e3 * form['median_s']:.1f} ms, {form['temporary_mib']:.0f} MiB, "
      f"{form['maps']:.1f} maps"
      for form in (plain, ours)
    )
    height, width, channels = row["shape"]
    print(
      f"| {height}x{width} | {channels} | {row['layer']} | {cells} | "
      f"{plain['median_s'] / ours['median_s']:.2f} |"
    )
  record.save(args.json, args, {"rows": rows})


def measure(shape, args) -> list[dict]:
  """Both layers in both forms on one map, all in turn."""
  random = np.random.default_rng(0)
  x, g = (
    jnp.asarray(random.standard_normal((args.batch, *shape)), args.dtype)
    for _ in range(2)
  )
  parameters = [
    jnp.asarray(random.uniform(0.1, 1, shape[-1]), jnp.float32)
    for _ in range(7)
  ]
  rows, found, calls = [], [], []
  for layer in LAYERS:
    rows.append({"shape": shape, "layer": layer})
    for form in FORMS:
      program = compile_layer(layer, form, x, g, parameters)
      memory, cost = program.memory_analysis(), program.cost_analysis()
      rows[-1][form] = {
        "temporary_mib": memory.temp_size_in_bytes / 2**20,
        "maps": cost["bytes accessed"] / x.nbytes,
      }
      found.append(rows[-1][form])
      calls.append(functools.partial(program, x, g, parameters))
      jax.block_until_ready(calls[-1]())
  for cell, seconds in zip(
    found, ceilings.in_turn(calls, args.repeats), strict=True
  ):
    cell |= ceilings.spread(seconds)
  return rows


def compile_layer(layer, form, x, g, parameters):
  """(x, gradient of y, parameters) -> y and all gradients."""

  def apply(x, parameters):
    rho, *scales, mean, var = parameters
    running = Moments(mean, var)
    if layer == "bn":
      y, _ = normalization.batch_norm(x, *scales[:2], running, mode="update")
    else:
      y, _ = normalization.bin_apply(x, rho, *scales, running, mode="update")
    return jax.nn.relu(y)

  def both(x, g, parameters):
    y, pull = jax.vjp(apply, x, parameters)
    return y, pull(g)

  plain = form == "plain"
  with mock.patch.multiple(
    centered,
    variance=centered._square_mean if plain else centered.variance,
    affine=affine if plain else centered.affine,
  ):
    return jax.jit(both).lower(x, g, parameters).compile()


def affine(x, *coefficients):
  """What is behind `centered.affine`, its center not taken for a constant."""
  return centered._affine(x, *(centered.align(v, x) for v in coefficients))


if __name__ == "__main__":
  main()
