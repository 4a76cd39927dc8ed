"""BNTA's tables and figure (AAAI 2022) as studies, and what lies beyond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metabin_jax.repro import published
from metabin_jax.repro.bnta_arms import BNTA_ARMS
from metabin_jax.repro.types import Entry, Scoring, Study

_NOT_ADAPTED = "none"
_METRICS = ("rank-1", "rank-5", "rank-10", "mAP")
_NOTE = (
  "Rows of one training share its run: only what is adapted before scoring "
  "differs, for each target from the weights of the training, on the images of "
  "its gallery, without labels."
)
_STEPS_NOTE = "Four steps of Adam at 0.0005 move a parameter by 0.002 at most."
_TITLES = {arm.name: arm.title for arm in BNTA_ARMS}
# What Table 3 trains by, and adapts by -> rank-1 on VIPeR.
_TABLE3: dict[str, dict[tuple[str, ...], float]] = {
  "bnta_id": {(): 50.9},
  "bnta_position": {(): 21.6, ("position",): 21.3},
  "bnta_match": {(): 48.2, ("match",): 51.8},
  "bnta_id_position": {(): 52.6, ("position",): 52.8},
  "bnta_id_match": {(): 52.3, ("match",): 55.6},
  "bnta": {
    (): 52.8,
    ("position",): 53.3,
    ("match",): 56.8,
    ("position", "match"): 57.4,
  },
}
# What moves -> rank-1 on GRID.
_TABLE4: dict[tuple[str, ...], float] = {
  (): 42.9,
  ("conv",): 47.8,
  ("in",): 43.1,
  ("conv", "in"): 47.8,
  ("bn",): 51.1,
  ("bn", "conv"): 48.1,
  ("bn", "in"): 50.9,
  ("bn", "conv", "in"): 48.0,
}
# What of the batch norms moves -> rank-1 on GRID.
_TABLE5: dict[tuple[str, ...], float] = {
  (): 42.4,
  ("mean",): 44.9,
  ("var",): 43.5,
  ("mean", "var"): 45.2,
  ("scale",): 47.5,
  ("bias",): 46.8,
  ("scale", "bias"): 48.8,
  ("mean", "var", "scale", "bias"): 51.1,
}


def _adapt(**changes: Any) -> Scoring:
  """BNTA as published but for these keys of `eval.bnta`."""
  return {"adapt": "bnta", "bnta": changes}


def _named(names: Sequence[str]) -> str:
  return " + ".join(names) or _NOT_ADAPTED


def _row(label: str, arm: str, scoring: Scoring, **target: float) -> Entry:
  """A row, with the published rank-1 of one target."""
  rows = {name: (value,) for name, value in target.items()}
  return Entry(
    label,
    arm,
    published=published.dg(**rows) if rows else {},
    source=published.BNTA if rows else "",
    scoring=scoring,
  )


def _sweep(key: str, values: Sequence[Any], label: str) -> tuple[Entry, ...]:
  return tuple(
    _row(label.format(value), "bnta", _adapt(**{key: value}))
    for value in values
  )


_BNTA_TABLE3 = Study(
  "bnta_table3",
  "BNTA, Table 3: losses of training and of adaptation",
  "Which of the tasks help in training, and which in adapting?",
  tuple(
    _row(
      f"{_TITLES[arm].rpartition(', ')[2]}; adapted by {_named(losses)}",
      arm,
      _adapt(losses=losses) if losses else {},
      viper=rank_1,
    )
    for arm, rows in _TABLE3.items()
    for losses, rank_1 in rows.items()
  ),
  metrics=_METRICS,
  per_target=True,
  note=f"{_NOTE} A row is adapted by losses that it was trained with. BNTA's "
  "tables differ by up to 0.5 points for one and the same row.",
)
_BNTA_TABLE4 = Study(
  "bnta_table4",
  "BNTA, Table 4: which layers move",
  "Which layers must move, and do others do harm?",
  tuple(
    _row(
      _named(groups),
      "bnta",
      _adapt(groups=groups) if groups else {},
      grid=rank_1,
    )
    for groups, rank_1 in _TABLE4.items()
  ),
  metrics=_METRICS,
  per_target=True,
  note=f"{_NOTE} Where bn is not among them, batch norms use and keep their "
  "running statistics.",
)
_BNTA_TABLE5 = Study(
  "bnta_table5",
  "BNTA, Table 5: what of the batch norms moves",
  "Is it the statistics or the affine maps that matter?",
  tuple(
    _row(
      _named(arrays),
      "bnta",
      _adapt(bn_arrays=arrays) if arrays else {},
      grid=rank_1,
    )
    for arrays, rank_1 in _TABLE5.items()
  ),
  metrics=_METRICS,
  per_target=True,
  note=f"{_NOTE} Whatever moves, batches are normalized by their own moments "
  "while adapting.",
)
_BNTA_FIG4 = Study(
  "bnta_fig4",
  "BNTA, Fig. 4: images to pair, and pairs",
  "How much must be seen of a place?",
  (
    _row(_NOT_ADAPTED, "bnta", {}),
    *_sweep("images", (30, 60, 120), "{} images of the gallery"),
    _row("all images, 128 pairs at most", "bnta", _adapt()),
    *_sweep("pairs", (8, 16, 32, 64), "all images, {} pairs"),
  ),
  note=f"{_NOTE} The published figure gives no numbers to quote, and the grid "
  "is ours. N images make N / 2 pairs at most; quick scale: galleries of 240.",
)
_BNTA_STEPS = Study(
  "bnta_steps",
  "BNTA: optimizer, step size, number of steps, and other readings",
  "Do the published steps suffice, and what do larger ones do?",
  (
    _row(_NOT_ADAPTED, "bnta", {}),
    _row("Adam 0.0005, 1 epoch (published)", "bnta", _adapt()),
    *_sweep("lr", (0.005, 0.05), "Adam {}"),
    *_sweep("epochs", (5, 20), "Adam 0.0005, {} epochs"),
    *(
      _row(f"SGD {lr}", "bnta", _adapt(optimizer="sgd", lr=lr))
      for lr in (0.0005, 0.005, 0.05, 0.5)
    ),
    _row("momentum 1.0", "bnta", _adapt(momentum=1.0)),
    _row("normalized by running statistics", "bnta", _adapt(forward="running")),
    _row(
      "statistics by gradient (Eq. 14)", "bnta", _adapt(statistics="gradient")
    ),
    _row("matching loss summed over pairs", "bnta", _adapt(reduction="sum")),
    _row("both images are anchors", "bnta", _adapt(symmetric=True)),
    _row(
      "position of paired parts alone",
      "bnta",
      _adapt(position_parts="paired"),
    ),
  ),
  note=f"{_NOTE} {_STEPS_NOTE} Nothing is published for these rows but the "
  "second.",
)


def _beyond(
  title: str,
  arm: str,
  losses: tuple[str, ...],
  kinds: Sequence[tuple[str, ...]],
) -> tuple[Entry, ...]:
  """None, AdaBN and BNTA on one network, moving one kind after the other."""
  return (
    _row(f"{title}: none", arm, {}),
    _row(f"{title}: AdaBN", arm, {"adapt_bn": "gallery"}),
    *(
      _row(
        f"{title}: BNTA moves {_named(groups)}",
        arm,
        _adapt(losses=losses, groups=groups),
      )
      for groups in kinds
    ),
  )


_BOTH, _MATCH = ("position", "match"), ("match",)
_KINDS = (("bn",), ("in",), ("rho",), ("bn", "in", "rho"))
_BNTA_BEYOND = Study(
  "bnta_beyond",
  "Beyond the paper: adapting MetaBIN without labels",
  "Does MetaBIN gain from adapting too, and which of its parameters?",
  (
    *_beyond("BN", "bn", _MATCH, [("bn",)]),
    *_beyond("DualNorm with part heads", "bnta", _BOTH, [("bn",)]),
    *_beyond("MetaBIN", "metabin", _MATCH, _KINDS),
    *_beyond("MetaBIN with part heads", "metabin_parts", _BOTH, _KINDS),
  ),
  note=f"{_NOTE} Networks without part heads are paired and adapted by the "
  "stripes of their last map, by the matching loss alone. Nothing is published "
  "for these rows.",
)

BNTA_STUDIES: tuple[Study, ...] = (
  _BNTA_TABLE3,
  _BNTA_TABLE4,
  _BNTA_TABLE5,
  _BNTA_FIG4,
  _BNTA_STEPS,
  _BNTA_BEYOND,
)
