"""BNTA's networks (AAAI 2022), and MetaBIN's with the same part heads."""

from __future__ import annotations

from metabin_jax.repro.types import Arm

_BNTA = {
  "method": "joint",
  "model.norm": "dualnorm",
  "model.heads": "bnta",
  "loss.smoothing": 0.0,
}
# Of 64 pixels a network of the quick scale leaves four rows: one a part.
_QUICK = {"model.parts": 4}
# As configs/bnta_resnet50.py.
_FULL = {
  "model.backbone": "resnet50",
  "model.width": 1.0,
  "model.last_stride": 2,
  "data.sampler": "shuffle",
  "data.batch_size": 64,
  "optim.optimizer": "adam",
  "optim.lr": 0.005,
  "optim.bias_factor": 1.0,
  "optim.warmup_epochs": 0.0,
  "optim.milestones_epochs": (40.0,),
  "train.epochs": 60.0,
}
_NOTE = (
  "Sampler, augmentation, weight decay and image size are not stated: at the "
  "full scale DualNorm's. Quick scale: the common schedule, four parts."
)


def _arm(name: str, title: str, losses: tuple[str, ...]) -> Arm:
  changes = {**_BNTA, "loss.base": losses}
  return Arm(name, title, changes, quick=_QUICK, full=_FULL, note=_NOTE)


BNTA_ARMS: tuple[Arm, ...] = (
  _arm("bnta_id", "BNTA's network, id", ("ce",)),
  _arm("bnta_position", "BNTA's network, position", ("position",)),
  _arm("bnta_match", "BNTA's network, match", ("match",)),
  _arm("bnta_id_position", "BNTA's network, id + position", ("ce", "position")),
  _arm("bnta_id_match", "BNTA's network, id + match", ("ce", "match")),
  _arm("bnta", "BNTA's network, all losses", ("ce", "position", "match")),
  Arm(
    "metabin_parts",
    "MetaBIN with part heads",
    {
      "model.heads": "bnta",
      "loss.base": ("ce", "triplet", "position", "match"),
    },
    quick=_QUICK,
    note="Beyond both papers: MetaBIN, its base step with BNTA's two losses of "
    "parts at BNTA's weights.",
  ),
)
