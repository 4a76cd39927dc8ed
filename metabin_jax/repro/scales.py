"""The data and the common schedule that arms are trained on, at two sizes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import config_dict

from metabin_jax import default_config
from metabin_jax.data import protocols
from metabin_jax.errors import UserError
from metabin_jax.repro.types import SCALES, SETTINGS, Arm

QUICK_SOURCES = "atrium,carpark,campus,plaza,station"
QUICK_TARGETS = ("dusk", "snow", "warehouse", "oldcctv")
# Labelled sources besides a site whose labels are not used.
QUICK_SITE_SOURCES = "atrium,carpark,campus,plaza"
# setting -> (domain of the preset "cameras" to train on, to test on).
QUICK_CAMERAS = {
  "single-a": ("campus", "station"),
  "single-b": ("station", "campus"),
  "supervised": ("campus", "campus"),
}
_PROTOCOLS = {
  "dg": "metabin",
  "single-a": "market-to-duke",
  "single-b": "duke-to-market",
  "supervised": "market",
}
# gamma of the released M-resnet and D-resnet configurations.
_SINGLE_RHO_LR = {"single-a": 0.2, "single-b": 0.5}
_META_LOSSES = ("loss.mtrain", "loss.mtest")


def get_config(scale: str, setting: str) -> config_dict.ConfigDict:
  """The configuration that arms change: that of the arm `metabin`.

  Args:
    scale: "quick": rendered people, a small network, minutes on a CPU core;
      "full": the published data sets and schedule.
    setting: of `types.SETTINGS`.

  Returns:
    An unresolved configuration with sources and targets.

  Raises:
    UserError: for an unknown scale or setting.

  Source: MetaBIN, Sec. 4.1; reference configs/Sample/DG-mobilenet.yml,
    M-resnet.yml and D-resnet.yml.
  """
  _check(scale, setting)
  config = default_config.get_config()
  if setting in _SINGLE_RHO_LR:
    config.data.jitter = True
    config.loss.mtrain = ("ce", *config.loss.mtrain)
    config.loss.mtest = ("ce", *config.loss.mtest)
    config.optim.rho_lr = _SINGLE_RHO_LR[setting]
  if scale == "quick":
    _use_quick(config, setting)
  else:
    _use_full(config, setting)
  return config


def overrides(
  arm: Arm,
  setting: str,
  scale: str,
  changes: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
  """What an arm, and what is changed in it, changes in `get_config`.

  Args:
    arm: one of `arms.ARMS`, or a user's.
    setting: of `types.SETTINGS`.
    scale: of `types.SCALES`.
    changes: dotted key -> value: what a row or a call changes in the arm.

  Returns:
    Dotted key -> value. With a single source the meta losses that the arm
    names itself get the cross entropy too, as the common ones have it. At a
    site method "mar" gets the train part of the targets, without labels.

  Raises:
    UserError: for an unknown scale or setting.
  """
  _check(scale, setting)
  own = {**arm.changes, **(arm.quick if scale == "quick" else arm.full)}
  if setting in _SINGLE_RHO_LR:
    for key in _META_LOSSES:
      if key in own and "ce" not in own[key]:
        own[key] = ("ce", *own[key])
  merged = {**own, **changes}
  if setting == "site" and merged.get("method") == "mar":
    targets = get_config(scale, setting).data.targets
    site = merged.get("data.targets", targets)
    merged.setdefault("data.unlabelled", site)
  return merged


def _use_quick(config: config_dict.ConfigDict, setting: str) -> None:
  """The quickstart's recipe with 50 instead of 100 iterations an epoch."""
  config.model.backbone = "resnet18"
  config.model.width = 0.25
  config.data.height_px = 64
  config.data.width_px = 32
  config.data.pad_px = 3
  config.data.batch_size = 40
  config.train.epochs = 12.0
  config.train.steps_per_epoch = 50
  config.optim.lr = 0.03
  config.optim.warmup_epochs = 1.0
  config.optim.milestones_epochs = (7.0, 10.0)
  config.train.log_every_steps = 10
  # Four snapshots to score.
  config.train.checkpoint_every_steps = 150
  config.train.keep_checkpoints = 4
  if setting == "dg":
    config.data.sources = (f"synthetic:quick?domains={QUICK_SOURCES}",)
    config.data.targets = tuple(
      f"synthetic:quick?domains={name}&name={name}" for name in QUICK_TARGETS
    )
    return
  if setting == "site":
    config.data.sources = (f"synthetic:quick?domains={QUICK_SITE_SOURCES}",)
    config.data.targets = ("synthetic:site",)
    # 48 = 4 domains x 3 persons x 4 images.
    config.data.batch_size = 48
    return
  source, target = QUICK_CAMERAS[setting]
  config.data.sources = (f"synthetic:cameras?domains={source}&domain=camera",)
  config.data.targets = (f"synthetic:cameras?domains={target}&name={target}",)
  # 48 = 6 cameras x 2 persons x 4 images.
  config.data.batch_size = 48
  config.meta.num_mtrain = 3


def _use_full(config: config_dict.ConfigDict, setting: str) -> None:
  if setting == "site":
    # MAR's: all of MSMT17 with labels, Market-1501 without.
    root = protocols.data_root()
    config.data.sources = (f"msmt17:{root}?use=all&domain=camera",)
    config.data.targets = (f"market1501:{root}",)
    # 120 = 15 cameras x 2 persons x 4 images.
    config.data.batch_size = 120
    config.meta.num_mtrain = 9
    config.train.checkpoint_every_steps = 2000
    config.train.keep_checkpoints = 10
    return
  protocols.use_protocol(config, _PROTOCOLS[setting])
  # The published model was picked among snapshots; here every fifth epoch.
  config.train.checkpoint_every_steps = 9245
  config.train.keep_checkpoints = 20
  if setting == "dg":
    return
  # 96 = 6 cameras x 4 persons x 4 images = 8 cameras x 3 persons x 4 images.
  config.data.batch_size = 96
  config.meta.num_mtrain = 4 if setting == "single-b" else 3
  # An epoch is some 130 to 170 iterations.
  config.train.checkpoint_every_steps = 2000
  config.train.keep_checkpoints = 10
  if setting == "supervised":
    return
  config.model.backbone = "resnet50"
  config.model.width = 1.0
  config.optim.milestones_epochs = (50.0, 90.0)
  config.train.epochs = 120.0


def _check(scale: str, setting: str) -> None:
  for name, value, allowed in (
    ("scale", scale, SCALES),
    ("setting", setting, SETTINGS),
  ):
    if value not in allowed:
      raise UserError(
        f"{name} {value!r} is unknown; use one of {', '.join(allowed)}."
      )
