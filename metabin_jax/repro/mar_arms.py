"""MAR (CVPR 2019) and the supervised run that it starts from."""

from __future__ import annotations

from metabin_jax.repro.types import Arm

_NETWORK = {
  "model.norm": "bn",
  "model.neck": "none",
  "model.last_relu": False,
  "loss.base": ("ce",),
  "loss.smoothing": 0.0,
  "data.sampler": "shuffle",
  "optim.bias_factor": 1.0,
}
# As configs/mar_resnet50.py.
_FULL = {
  "model.backbone": "resnet50",
  "model.width": 1.0,
  "model.last_stride": 2,
  "data.height_px": 384,
  "data.pad_px": 7,
  "optim.warmup_epochs": 0.0,
}
_QUICK = {
  "mar.batch_size": 48,
  # Of 1,128 pairs, where the published 16,836 give 84.
  "mar.ratio": 0.02,
  # The published rate; its drops, at 5/8 and 7/8, are the common schedule's.
  "optim.lr": 2e-4,
  "optim.warmup_epochs": 0.0,
}
_NOTE = (
  "The recipe of the pre-training is not published: quick scale, the common "
  "schedule; full scale, ours."
)

MAR_ARMS: tuple[Arm, ...] = (
  Arm(
    "mar_start",
    "CE on the sources (MAR's start)",
    {"method": "joint", **_NETWORK, "meta.first_base_updates": 1},
    full={
      **_FULL,
      "data.batch_size": 64,
      "optim.milestones_epochs": (40.0,),
      "train.epochs": 60.0,
    },
    note=_NOTE,
  ),
  Arm(
    "mar",
    "MAR",
    {
      "method": "mar",
      **_NETWORK,
      "model.pretrained_classifier": True,
      "optim.decay_norms": False,
      "optim.weight_decay": 2.5e-2,
    },
    quick=_QUICK,
    full={
      **_FULL,
      "data.batch_size": 184,
      "optim.lr": 2e-4,
      "optim.milestones_epochs": (12.0, 17.0),
      "train.epochs": 20.0,
    },
    note="Quick scale: published rate and weights, the common schedule, p for "
    "its smaller batch.",
    start="mar_start",
  ),
)
