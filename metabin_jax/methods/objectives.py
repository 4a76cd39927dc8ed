"""Weighted sums of losses, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from metabin_jax.models import Outputs
from metabin_jax.ops import (
  collectives,
  losses,
  part_losses,
  restitution_loss,
)

# (network outputs, batch) -> (total, {name: unweighted loss})
Objective = Callable[[Outputs, Any], tuple[jax.Array, dict[str, jax.Array]]]
NAMES = ("ce", "triplet", "shuffle", "scatter", "snr", "position", "match")
# Those of the parts of a body: they need a network with heads "bnta".
OF_PARTS = ("position", "match")


def make_objective(
  names: Sequence[str],
  *,
  weights: Mapping[str, float] | None = None,
  margin: float = losses.MARGIN,
  smoothing: float = losses.SMOOTHING,
  smoothing_spread: str = "others",
  scatter_normalize: bool = True,
  part_reduction: str = "sum",
) -> Objective:
  """Binds a sum of losses.

  Args:
    names: some of `NAMES`, at least one.
    weights: factor of each loss, 1 where absent.
    margin: of the triplet loss.
    smoothing: label smoothing of the cross entropy.
    smoothing_spread: "others" or "all", see `losses.cross_entropy`.
    scatter_normalize: see `losses.scatter`.
    part_reduction: over the parts of an image, see `part_losses.position`.

  Returns:
    objective(outputs, batch) -> (total, parts). `batch` has `pid` [B] and
    `domain` [B]. Where a batch is split over devices, each gets the losses of
    the whole batch, see ops/collectives.py.

  Raises:
    ValueError: for an unknown or missing name.
  """
  unknown = sorted(set(names) - set(NAMES))
  if unknown or not names:
    raise ValueError(f"losses are {tuple(names)}, want some of {NAMES}.")
  weights = dict(weights or {})

  def part(name: str, outputs: Outputs, batch: Any) -> jax.Array:
    if name == "ce":  # a mean over rows: no device needs those of the others
      return losses.cross_entropy(
        outputs.logits,
        batch.pid,
        smoothing=smoothing,
        spread=smoothing_spread,
      )
    # These two are means over rows as well.
    if name == "position":
      return part_losses.position(
        outputs.parts.position, reduction=part_reduction
      )
    if name == "match":
      return part_losses.match_identity(
        outputs.parts.identity, batch.pid, reduction=part_reduction
      )
    pooled, pid, domain = collectives.gather(
      (outputs.pooled, batch.pid, batch.domain)
    )
    if name == "triplet":
      return losses.triplet(pooled, pid, margin=margin)
    if name == "shuffle":
      return losses.shuffle(pooled, pid, domain)
    if name == "scatter":
      return losses.scatter(pooled, domain, normalize=scatter_normalize)
    return restitution_loss.restitution_loss(
      collectives.gather(outputs.aux), pid
    )

  def objective(outputs, batch):
    parts = collectives.mean(
      {name: part(name, outputs, batch) for name in names}
    )
    total = sum(weights.get(name, 1.0) * parts[name] for name in names)
    return total, parts

  return objective
