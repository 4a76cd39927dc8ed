"""MAR (CVPR 2019) as studies: before and after, its sweeps, and its rivals."""

from __future__ import annotations

from collections.abc import Sequence

from metabin_jax.repro import published
from metabin_jax.repro.types import Entry, Study

_METRICS = ("rank-1", "rank-5", "rank-10", "mAP")
_NOTE = (
  "The site's training images are learned from without their labels; persons "
  "of the test are others. Each run of MAR starts from the supervised run of "
  "its seed."
)
_AP = {"ap": "mar"}
_BNTA = {"adapt": "bnta", "bnta": {}}
_BNTA_STRIPES = {"adapt": "bnta", "bnta": {"losses": ("match",)}}


def _sweep(
  name: str,
  title: str,
  question: str,
  symbol: str,
  key: str,
  values: Sequence[float],
) -> Study:
  """A study of MAR with one row a value of a key."""
  return Study(
    name,
    title,
    question,
    tuple(
      Entry(f"{symbol} = {value}", "mar", changes={key: value})
      for value in values
    ),
    settings=("site",),
    note=f"{_NOTE} The published sweep is a plot without numbers to quote; the "
    "grid is ours.",
  )


_BEFORE_AND_AFTER = Study(
  "mar",
  "MAR: before and after",
  "What does a site give without its labels, and which losses give it?",
  (
    *(
      Entry(label, None, published=scores, source=source)
      for label, scores, source in published.QUOTED_SITE
    ),
    Entry("supervised on the sources (start)", "mar_start"),
    Entry("start, AP by MAR's rule", "mar_start", scoring=_AP),
    Entry(
      "MAR",
      "mar",
      published=published.MAR_RANKS,
      source=published.MAR,
    ),
    Entry(
      "MAR, AP by its own rule",
      "mar",
      published=published.MAR_OWN_AP,
      source=published.MAR,
      scoring=_AP,
    ),
    Entry("MAR without L_MDL", "mar", {"mar.first_mining_epochs": 1000.0}),
    Entry("MAR without L_CML", "mar", {"mar.view_weight": 0.0}),
    Entry("MAR without L_RJ", "mar", {"mar.joint_weight": 0.0}),
    Entry("L_RJ as in the paper", "mar", {"mar.joint_form": "paper"}),
    Entry("L_CML as in the paper", "mar", {"mar.view_reduction": "sum"}),
  ),
  settings=("site",),
  metrics=(*_METRICS, "mAP (mar)"),
  note=f"{_NOTE} The published mAP is by the rule of MAR's code, higher than "
  "the usual one wherever the first match is not the first answer.",
)
_RATIO = _sweep(
  "mar_ratio",
  "MAR, supplement: the mined share of pairs p",
  "How many pairs should be mined?",
  "p",
  "mar.ratio",
  (0.001, 0.005, 0.01, 0.02, 0.05, 0.1),
)
_JOINT = _sweep(
  "mar_beta",
  "MAR, supplement: the weight beta of L_RJ",
  "How much should agents keep their distance?",
  "beta",
  "mar.joint_weight",
  (0.0, 0.05, 0.1, 0.2, 0.5, 1.0),
)
_NEEDS = Study(
  "mar_needs",
  "A new site: what each method needs, and what it gives",
  "Is it worth to look at a site's gallery, or to train on its images?",
  (
    Entry("BN: nothing of the site", "bn"),
    Entry("MetaBIN: nothing of the site", "metabin"),
    Entry(
      "MetaBIN, BNTA: its gallery, seconds", "metabin", scoring=_BNTA_STRIPES
    ),
    Entry("DualNorm with part heads: nothing of the site", "bnta"),
    Entry(
      "DualNorm with part heads, BNTA: its gallery, seconds",
      "bnta",
      scoring=_BNTA,
    ),
    Entry("MAR's start: nothing of the site", "mar_start"),
    Entry("MAR: unlabelled training images, minutes", "mar"),
  ),
  settings=("site",),
  metrics=_METRICS,
  note=_NOTE,
)

MAR_STUDIES: tuple[Study, ...] = (_BEFORE_AND_AFTER, _RATIO, _JOINT, _NEEDS)
