"""What this chip can do at best: copying memory, multiplying matrices."""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp


def measure(repeats: int = 5) -> dict[str, float]:
  """Measures the first device.

  Args:
    repeats: calls of each, of which the fastest counts.

  Returns:
    `copy_gb_s`: bytes read plus bytes written by x + 1, in 1e9 a second;
    `float32_tflop_s`, `bfloat16_tflop_s`: of square matrix products, two
    operations for a multiply-add, in 1e12 a second, float32 in JAX's default
    precision.
  """
  accelerator = jax.default_backend() != "cpu"
  values = 2**28 if accelerator else 2**26
  size = 8192 if accelerator else 2048
  x = jnp.zeros(values, jnp.float32)
  found = {
    "copy_gb_s": 8 * values / _fastest(lambda v: v + 1, x, repeats) / 1e9
  }
  for name in ("float32", "bfloat16"):
    a = jnp.ones((size, size), name)
    taken = _fastest(lambda m: m @ m, a, repeats)
    found[f"{name}_tflop_s"] = 2 * size**3 / taken / 1e12
  return found


def bound_s(flops: float, accessed: float, dtype: str, ceilings) -> float:
  """The least seconds that work of so many operations and bytes can take.

  Args:
    flops: floating-point operations.
    accessed: bytes read and written.
    dtype: "float32" or "bfloat16".
    ceilings: from `measure`.
  """
  return max(
    flops / (ceilings[f"{dtype}_tflop_s"] * 1e12),
    accessed / (ceilings["copy_gb_s"] * 1e9),
  )


def seconds(call, repeats: int) -> list[float]:
  """Seconds of each call of something that returns JAX arrays."""
  taken = []
  for _ in range(repeats):
    began = time.perf_counter()
    jax.block_until_ready(call())
    taken.append(time.perf_counter() - began)
  return taken


def in_turn(calls, repeats: int) -> list[list[float]]:
  """Seconds of each of several calls, round after round.

  A noisy machine is then as noisy for one as for the other.
  """
  taken: list[list[float]] = [[] for _ in calls]
  for _ in range(repeats):
    for call, found in zip(calls, taken, strict=True):
      found += seconds(call, 1)
  return taken


def spread(taken: list[float]) -> dict[str, float]:
  """Median and range, as fields of a row."""
  return {
    "median_s": statistics.median(taken),
    "min_s": min(taken),
    "max_s": max(taken),
  }


def _fastest(function, x, repeats):
  program = jax.jit(function)
  jax.block_until_ready(program(x))
  return min(seconds(lambda: program(x), repeats))
