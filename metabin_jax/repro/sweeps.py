"""Studies that vary one number of MetaBIN: Fig. 2, S1, S3 and S4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabin_jax.repro.types import Entry, Study

_NO_NUMBERS = (
  "The published figure gives no numbers to quote, and the grid is ours."
)


def _row(label: str, changes: Mapping[str, Any] | None = None) -> Entry:
  return Entry(label, "metabin", changes=changes or {})


FIG2 = Study(
  "fig2",
  "Fig. 2: meta-train domains, and images of a batch",
  "How much do the split of the domains and the size of the batch matter?",
  (
    *(
      _row(f"{number} of 5 domains for meta-train", {"meta.num_mtrain": number})
      for number in (1, 2, 3, 4)
    ),
    *(
      _row(f"{size // 5} images per domain", {"data.batch_size": size})
      for size in (40, 60, 80, 120)
    ),
  ),
  note=f"{_NO_NUMBERS} Default: 3 of 5 domains; 16 images per domain (quick: "
  "8). With one meta-train domain the shuffle loss has no other domain and "
  "falls back to the anchor itself. The base batch has the size of the meta "
  "batch.",
)
S1 = Study(
  "s1",
  "Supplement: weights of the losses",
  "How sensitive is MetaBIN to the factors lambda of its losses?",
  (
    _row("all 1 (default)"),
    *(
      _row(f"{name} {weight:g}", {f"loss.weights.{name}": weight})
      for name in ("scatter", "shuffle", "triplet")
      for weight in (0.1, 2.0)
    ),
  ),
  note=f"{_NO_NUMBERS} One factor at a time, the others 1. The factor of the "
  "triplet loss holds in all three places where it occurs: base step, "
  "meta-train and meta-test.",
)
S3 = Study(
  "s3",
  "Supplement: period of the cyclic inner step",
  "How sensitive is MetaBIN to the period of the cycle?",
  tuple(
    _row(
      f"period {period:g}" + (" (default)" if period == 5.0 else ""),
      {"meta.beta_period_epochs": period},
    )
    for period in (1.0, 2.5, 5.0, 10.0, 20.0)
  ),
  note=f"{_NO_NUMBERS} Periods in epochs. Quick scale: 12 epochs in all, so "
  "that 20 is less than one cycle.",
)
S4 = Study(
  "s4",
  "Supplement: gamma, the learning rate of rho",
  "How sensitive is MetaBIN to the step size of rho?",
  tuple(
    _row(
      f"gamma {rate:g}" + (" (default)" if rate == 0.1 else ""),
      {"optim.rho_lr": rate},
    )
    for rate in (0.01, 0.05, 0.1, 0.2, 0.5)
  ),
  note=f"{_NO_NUMBERS} As in the released code the inner step is the cycle "
  "times gamma, so both move together.",
)

SWEEPS: tuple[Study, ...] = (FIG2, S1, S3, S4)
