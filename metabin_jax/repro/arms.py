"""Every way to train that a table of the paper compares, by name."""

from __future__ import annotations

import difflib

from metabin_jax.errors import UserError
from metabin_jax.repro.bnta_arms import BNTA_ARMS
from metabin_jax.repro.comparator_arms import COMPARATORS
from metabin_jax.repro.mar_arms import MAR_ARMS
from metabin_jax.repro.types import Arm

# A constant in place of the cycle of the inner step. The sources give none;
# 0.01 is the released code's "middle" factor, the geometric mean of the cycle.
FIXED = 0.01
# The arithmetic mean of the cycle, the other reading.
FIXED_MEAN = 0.0505
_FIXED_NOTE = (
  "The size of the fixed inner step is given nowhere: 0.01, the middle of the "
  "released cycle, is our choice."
)
_CE = ("ce",)
_CE_TR = ("ce", "triplet")
_TR = ("triplet",)
_JOINT = {"method": "joint"}
_BIN = {"model.norm": "bin_shared", "optim.joint_rho": True}
_RELEASED_RHO = (
  "One simultaneous gradient for rho and the rest; the released code takes a "
  "second gradient after the weights moved."
)


def _joint_arms() -> list[Arm]:
  return [
    Arm(
      "bn_ce",
      "BN, CE",
      {**_JOINT, "model.norm": "bn", "loss.base": _CE},
    ),
    Arm("bn", "BN, CE+TR", {**_JOINT, "model.norm": "bn"}),
    Arm("in", "IN", {**_JOINT, "model.norm": "in"}),
    Arm("bin_half", "BN+IN half", {**_JOINT, "model.norm": "bin_half"}),
    Arm(
      "bin",
      "BIN",
      {**_JOINT, **_BIN},
      note="rho by plain SGD at MetaBIN's rate, as Tables 3 and 4 ran it, not "
      f"by Nam and Kim's recipe. {_RELEASED_RHO}",
    ),
  ]


def _mldg_arms() -> list[Arm]:
  """MLDG on three networks, fixed and cyclic, and the readings of it."""
  note = (
    "As the released flags have it: a base step, then one combined meta step "
    "on everything, first order, inner step = own learning rate x factor. The "
    "published settings are not known beyond that."
  )
  arms = []
  for base, title, changes, losses in (
    ("bn_ce", "BN, CE", {"model.norm": "bn"}, _CE),
    ("bn", "BN, CE+TR", {"model.norm": "bn"}, _CE_TR),
    ("bin", "BIN, CE+TR", _BIN, _CE_TR),
  ):
    common = {
      "method": "mldg",
      **changes,
      "loss.base": losses,
      "loss.mtrain": losses,
      "loss.mtest": losses,
    }
    fixed = {**common, "meta.beta_fixed": FIXED}
    arms += [
      Arm(
        f"{base}_mldg", f"{title} + MLDG", fixed, note=note + " " + _FIXED_NOTE
      ),
      Arm(f"{base}_mldg_cyclic", f"{title} + MLDG (cyclic)", common, note=note),
      Arm(
        f"{base}_mldg_second_order",
        f"{title} + MLDG (second order)",
        {**fixed, "meta.second_order": True},
        note="Through the inner gradient, as MLDG's own code does.",
      ),
      Arm(
        f"{base}_mldg_no_base_step",
        f"{title} + MLDG (no base step)",
        {**fixed, "meta.base_step": False},
        note="Textbook MLDG: the meta step alone.",
      ),
    ]
  return arms


def _metabin_arms() -> list[Arm]:
  arms = []
  for suffix, title, mtrain, mtest in (
    ("ce", "CE", _CE, _CE),
    ("ce_tr", "CE+TR", _CE_TR, _CE_TR),
    ("tr", "TR", _TR, _TR),
    ("tr_scat", "TR+SCAT", ("triplet", "scatter"), _TR),
    ("tr_shuf", "TR+SHUF", ("shuffle", "triplet"), _TR),
    ("all_fixed", "TR+SCAT+SHUF", ("shuffle", "triplet", "scatter"), _TR),
  ):
    changes = {
      "loss.mtrain": mtrain,
      "loss.mtest": mtest,
      "meta.beta_fixed": FIXED,
    }
    arms.append(
      Arm(f"metabin_{suffix}", f"MetaBIN, {title}", changes, note=_FIXED_NOTE)
    )
  without = {
    "method": "mldg",
    "meta.combined": False,
    "optim.joint_rho": True,
  }
  note = (
    "No released configuration has it. Our choice, the least change: the base "
    "step moves rho too, and the meta step moves every parameter."
  )
  arms += [
    Arm(
      "metabin_all_fixed_mean",
      "MetaBIN, TR+SCAT+SHUF (fixed at the mean)",
      {"meta.beta_fixed": FIXED_MEAN},
      note="The other reading of the fixed step: the mean of the cycle.",
    ),
    Arm("metabin", "MetaBIN", {}),
    Arm(
      "metabin_bin",
      "MetaBIN, replace with BIN",
      {"model.norm": "bin_shared"},
      note="MetaBIN's procedure on layers with one affine map.",
    ),
    Arm(
      "metabin_no_separation",
      "MetaBIN, w/o episode separation",
      without,
      note=note,
    ),
    Arm(
      "metabin_no_separation_combined",
      "MetaBIN, w/o episode separation (combined)",
      {**without, "meta.combined": True},
      note=f"{note} Here the meta-train loss is added to the outer loss.",
    ),
    Arm(
      "metabin_no_separation_no_base_step",
      "MetaBIN, w/o episode separation (no base step)",
      {
        **without,
        "meta.base_step": False,
        "meta.combined": True,
        "loss.mtrain": ("ce", "shuffle", "triplet", "scatter"),
      },
      note="One episode for everything; its meta-train loss needs the cross "
      "entropy, or nothing would move the classifier.",
    ),
    Arm(
      "metabin_second_order",
      "MetaBIN, second order",
      {"meta.second_order": True},
    ),
    Arm(
      "metabin_paper",
      "MetaBIN, the paper's text",
      {"preset": "paper"},
      note="Where text and released code differ, as the text has it.",
    ),
  ]
  return arms


def _backbone_arms() -> list[Arm]:
  """MetaBIN on the networks of Table S1; quick: a quarter of their width."""
  arms = [
    Arm(
      f"metabin_mobilenetv2_{name}",
      f"MetaBIN, MobileNetV2 x{width}",
      {"model.backbone": "mobilenetv2"},
      quick={"model.width": width / 4},
      full={"model.width": width},
    )
    for name, width in (("1_0", 1.0), ("1_4", 1.4))
  ]
  for depth in (18, 34, 50, 101, 152):
    arms.append(
      Arm(
        f"metabin_resnet{depth}",
        f"MetaBIN, ResNet-{depth}",
        {"model.backbone": f"resnet{depth}"},
        full={"model.width": 1.0},
      )
    )
  return arms


ARMS: dict[str, Arm] = {
  arm.name: arm
  for arm in (
    *_joint_arms(),
    *_mldg_arms(),
    *_metabin_arms(),
    *_backbone_arms(),
    *COMPARATORS,
    *BNTA_ARMS,
    *MAR_ARMS,
  )
}


def get_arm(name: str) -> Arm:
  """Returns an arm by name.

  Args:
    name: a key of `ARMS`.

  Raises:
    UserError: if there is none; names the nearest.
  """
  if name not in ARMS:
    near = difflib.get_close_matches(name, ARMS, 3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(
      f"arm {name!r} is unknown; {hint}docs/repro.md lists all arms."
    )
  return ARMS[name]
