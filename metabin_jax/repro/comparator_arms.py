"""Other systems that the paper compares with, as arms.

Quick scale: layer, placement, losses and features of the system on the common
schedule, and but for OSNet and DualNorm's ResNet-50 on the common network. Full
scale: its own recipe as far as the sources give it.
"""

from __future__ import annotations

from metabin_jax.repro.types import Arm

_JOINT = {"method": "joint"}
_RESNET50 = {"model.backbone": "resnet50", "model.width": 1.0}
# DualNorm's recipe: cross entropy alone, shuffled batches, mirrored images.
_DUALNORM = {
  **_JOINT,
  "model.norm": "dualnorm",
  "loss.base": ("ce",),
  "loss.smoothing_spread": "all",
  "eval.flip": True,
  "eval.metric": "euclidean",
}
_DUALNORM_FULL = {
  "model.last_stride": 2,
  "data.sampler": "shuffle",
  "data.batch_size": 64,
  "optim.nesterov": True,
  "optim.bias_factor": 1.0,
  "optim.warmup_epochs": 0.0,
}
_DUALNORM_NOTE = (
  "Feature and distance as published (image and mirrored image, Euclidean); "
  "the AP is ours, the published one is the trapezoid rule's, so compare "
  "rank-1. One rate for weights and biases, no warm-up: not stated, our choice."
)
# torchreid's recipe for OSNet.
_OSNET = {
  **_JOINT,
  "model.backbone": "osnet",
  "loss.base": ("ce",),
  "optim.optimizer": "amsgrad",
  "optim.lr": 0.0015,
  "optim.bias_factor": 1.0,
}
_OSNET_FULL = {
  "model.width": 1.0,
  "loss.smoothing_spread": "all",
  "data.pad_px": 0,
  "data.sampler": "shuffle",
  "data.batch_size": 64,
  "optim.warmup_epochs": 0.0,
  "optim.classifier_only_epochs": 10.0,
  "train.epochs": 150.0,
  "optim.milestones_epochs": (60.0, 120.0),
}
_OSNET_NOTE = (
  "The published runs start from ImageNet weights; these train from scratch. "
  "Full scale: mirrored images, no random crop, as torchreid trains it."
)


def _on_resnet50(name: str, title: str, norm: str, note: str) -> Arm:
  """A layer with the losses and schedule of the BN arm, on ResNet-50."""
  changes = {**_JOINT, "model.norm": norm}
  return Arm(name, title, changes, full=_RESNET50, note=note)


COMPARATORS: tuple[Arm, ...] = (
  Arm(
    "dualnorm",
    "DualNorm",
    _DUALNORM,
    full={
      **_DUALNORM_FULL,
      "model.backbone": "mobilenetv2",
      "model.width": 1.0,
      "train.epochs": 150.0,
      "optim.milestones_epochs": (100.0,),
    },
    note=_DUALNORM_NOTE,
  ),
  Arm(
    "dualnorm_resnet50",
    "DualNorm (ResNet-50)",
    {**_DUALNORM, "model.backbone": "resnet50"},
    full={
      **_DUALNORM_FULL,
      "model.width": 1.0,
      "optim.lr": 0.005,
      "optim.classifier_factor": 10.0,
      "train.epochs": 60.0,
      "optim.milestones_epochs": (40.0,),
    },
    note=f"{_DUALNORM_NOTE} The number of epochs is not stated: 60, as BNTA "
    "trains it.",
  ),
  Arm(
    "dualnorm_metabin",
    "DualNorm (MetaBIN's flag)",
    {**_JOINT, "model.norm": "dualnorm_metabin"},
    note="What MetaBIN's code calls DualNorm: instance norm in place of batch "
    "norm in the shallow stages, with the losses of the BN arm.",
  ),
  Arm(
    "switchable",
    "Switchable norm (BN+IN)",
    {**_JOINT, "model.norm": "switchable"},
    note="Its weights learn at the common rate: not stated, our choice.",
  ),
  _on_resnet50(
    "ibn_a",
    "IBN-Net (a)",
    "ibn_a",
    "Which variant the slides quote is not stated; both are here.",
  ),
  _on_resnet50(
    "ibn_b",
    "IBN-Net (b)",
    "ibn_b",
    "Which variant the slides quote is not stated; both are here.",
  ),
  Arm(
    "snr",
    "SNR",
    {
      **_JOINT,
      "model.norm": "snr",
      "loss.base": ("ce", "triplet", "snr"),
    },
    full=_RESNET50,
    note="Losses and weights of the re-identification version as remembered; "
    "the public code is the classification version.",
  ),
  Arm(
    "adabn",
    "AdaBN",
    {**_JOINT, "model.norm": "bn", "eval.adapt_bn": "gallery"},
    note="The BN arm, its statistics taken from the target's gallery images "
    "before scoring: it sees unlabelled test data, which no other arm does.",
  ),
  Arm(
    "osnet",
    "OSNet",
    {**_OSNET, "model.norm": "bn"},
    full={**_OSNET_FULL, "eval.metric": "euclidean", "data.jitter": False},
    note=f"{_OSNET_NOTE} Steps at 60 and 120 of 150 epochs.",
  ),
  Arm(
    "osnet_ibn",
    "OSNet-IBN",
    {**_OSNET, "model.norm": "osnet_ibn"},
    full={**_OSNET_FULL, "eval.metric": "euclidean", "data.jitter": True},
    note=f"{_OSNET_NOTE} Steps at 60 and 120 of 150 epochs.",
  ),
  Arm(
    "osnet_ain",
    "OSNet-AIN",
    {**_OSNET, "model.norm": "osnet_ain"},
    full={
      **_OSNET_FULL,
      "optim.schedule": "cosine",
      "train.epochs": 100.0,
      "data.jitter": True,
    },
    note=_OSNET_NOTE,
  ),
)
