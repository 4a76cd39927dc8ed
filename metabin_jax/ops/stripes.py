"""Horizontal stripes of a feature map, from head to feet."""

from __future__ import annotations

import jax
import jax.numpy as jnp

PARTS = 6


def stripe_bounds(rows: int, parts: int = PARTS) -> list[tuple[int, int]]:
  """First row of every stripe, and the row behind its last.

  Args:
    rows: height of the map, at least 1.
    parts: number of stripes P, at least 1.

  Returns:
    P pairs. Where P divides the rows, stripes are equal and do not overlap;
    else neighbours share a row, and with fewer rows than stripes some stripes
    are the same row.

  Raises:
    ValueError: if a number is below 1.

  Source: torch `adaptive_avg_pool2d`. BNTA says "divided evenly", which its
    maps of 8 rows cannot be.
  """
  if rows < 1 or parts < 1:
    raise ValueError(f"rows is {rows} and parts {parts}, want at least 1.")
  return [
    (part * rows // parts, -(-(part + 1) * rows // parts))
    for part in range(parts)
  ]


def stripe_pool(x: jax.Array, parts: int = PARTS) -> jax.Array:
  """Mean over every stripe.

  Args:
    x: [B, H, W, C] feature map.
    parts: number of stripes P.

  Returns:
    [B, P, C], top to bottom, float32 or wider.

  Source: BNTA (AAAI 2022), Eq. 4.
  """
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  rows = jnp.mean(x, axis=2)
  bounds = stripe_bounds(x.shape[1], parts)
  return jnp.stack(
    [jnp.mean(rows[:, start:stop], axis=1) for start, stop in bounds], axis=1
  )
