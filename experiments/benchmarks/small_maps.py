"""Convolution on tiny maps, XLA's own against one matrix product.

  python experiments/benchmarks/small_maps.py

Processor time of value and both gradients, 40 images, 3x3, float32, and the
ratio of the two forms in one run.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from metabin_jax.ops import convolution

REPEATS = 10
# height, width, channels
MAPS = (
  *((2, 2, 128), (4, 2, 128), (3, 3, 128), (4, 2, 64)),
  *((5, 3, 128), (4, 4, 128), (8, 4, 128), (16, 8, 64)),
)


def main() -> None:
  """Prints a Markdown table."""
  print("| map | channels | direct, ms | product, ms | direct / product |")
  print("|---|---|---|---|---|")
  for height, width, channels in MAPS:
    random = np.random.default_rng(0)
    x, kernel = (
      jnp.asarray(random.standard_normal(shape), jnp.float32)
      for shape in ((40, height, width, channels), (3, 3, channels, channels))
    )
    direct, product = (measure(x, kernel, f) for f in ("direct", "product"))
    print(
      f"| {height}x{width} | {channels} | {direct:.1f} | {product:.1f} "
      f"| {direct / product:.1f} |"
    )


def measure(x: jax.Array, kernel: jax.Array, form: str) -> float:
  """Milliseconds of processor time, median of the repeats."""

  def loss(x, kernel):
    return jnp.sum(jnp.sin(convolution.conv(x, kernel, form=form)))

  run = jax.jit(jax.value_and_grad(loss, (0, 1)))
  jax.block_until_ready(run(x, kernel))
  times = []
  for _ in range(REPEATS):
    start = time.process_time()
    jax.block_until_ready(run(x, kernel))
    times.append(1000 * (time.process_time() - start))
  return float(np.median(times))


if __name__ == "__main__":
  main()
