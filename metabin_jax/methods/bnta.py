"""BNTA: batch norms adapted to a place by tasks that need no labels.

A network with part heads is trained as usual (method "joint" with the losses
"ce", "position" and "match"). Before it searches in a new place, a few steps on
pairs of gallery images move its batch norms:

  L = L_position + w L_match                                    (Eq. 10)

where L_position asks which part of a body a stripe is, and L_match that the
nearest parts of two images stay nearer than those of any other image in the
batch. `evaluation/part_pairs.py` finds the pairs, `runtime/adaptation.py` makes
the batches; here is one step.

Source: "Generalizable Person Re-Identification via Self-Supervised Batch Norm
  Test-Time Adaption" (AAAI 2022). No code of its authors is public.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util

from metabin_jax.methods import optim
from metabin_jax.models import ReIDNetwork
from metabin_jax.ops import part_losses
from metabin_jax.ops.moments import MOMENTUM

PyTree = Any
# What may move: affine maps and statistics of the batch norms, affine maps of
# the instance norms, kernels with their biases, balancing parameters.
GROUPS = ("bn", "in", "conv", "rho")
# Which of the batch norms' four arrays move, where "bn" does.
BN_ARRAYS = ("mean", "var", "scale", "bias")
LOSSES = ("position", "match")
STATISTICS = ("average", "gradient")
FORWARD = ("batch", "running")
POSITION_PARTS = ("all", "paired")
OPTIMIZERS = ("adam", "sgd")

# Name of a parameter -> its group. A pair of affine parameters that both norms
# of a layer share counts as the batch norm's.
_LEAVES = {
  "bn_scale": "bn",
  "bn_bias": "bn",
  "scale": "bn",
  "in_scale": "in",
  "in_bias": "in",
  "kernel": "conv",
  "projection": "conv",
  "rho": "rho",
}
_NECK = "neck"


class PairBatch(NamedTuple):
  """Images of some pairs.

  Attributes:
    image: uint8 [B, H, W, 3].
    pairs: int [K, 2], rows of `image`: anchor and positive.
    parts: int [K], the part that was nearest.
  """

  image: Any
  pairs: Any
  parts: Any


class AdaptationState(struct.PyTreeNode):
  """What adapts; the stored network stays as it is."""

  params: PyTree
  balance: PyTree
  batch_stats: PyTree
  optimizer: optax.OptState

  @property
  def variables(self) -> dict[str, PyTree]:
    """The collections, as `network.apply` takes them."""
    return {
      "params": self.params,
      "balance": self.balance,
      "batch_stats": self.batch_stats,
    }


class Rules(NamedTuple):
  """How a step adapts; every default is the paper's, or our reading of it.

  Attributes:
    groups: which groups move, some of `GROUPS` (Table 4).
    bn_arrays: of group "bn" (Table 5), some of `BN_ARRAYS`.
    losses: some of `LOSSES` (Table 3).
    match_weight: w.
    margin: of the matching loss.
    reduction: over the pairs, "mean" or "sum".
    symmetric: both images of a pair are anchors.
    position_parts: "all" parts of all images, or the "paired" ones alone.
    statistics: "average": running statistics move towards the batch's, as in
      training; "gradient": down the slope of the loss, as Eq. 14 writes it.
    forward: normalize by the "batch" or by the "running" statistics. Without
      "bn" in `groups`, and with statistics by "gradient", always the latter.
    momentum: share of a batch in the running statistics.
    neck: whether the statistics of the batch norm behind the pooling, which is
      no part of the losses, move too.
    optimizer: "adam" (betas 0.9 and 0.999) or "sgd" (no momentum).
    lr: its step size.
  """

  groups: tuple[str, ...] = ("bn",)
  bn_arrays: tuple[str, ...] = BN_ARRAYS
  losses: tuple[str, ...] = LOSSES
  match_weight: float = 1.0
  margin: float = part_losses.MARGIN
  reduction: str = "mean"
  symmetric: bool = False
  position_parts: str = "all"
  statistics: str = "average"
  forward: str = "batch"
  momentum: float = MOMENTUM
  neck: bool = True
  optimizer: str = "adam"
  lr: float = 5e-4


def check_rules(rules: Rules) -> None:
  """Raises ValueError unless every choice of `rules` exists."""
  for name, values, known in (
    ("groups", rules.groups, GROUPS),
    ("bn_arrays", rules.bn_arrays, BN_ARRAYS),
    ("losses", rules.losses, LOSSES),
    ("reduction", (rules.reduction,), part_losses.REDUCTIONS),
    ("position_parts", (rules.position_parts,), POSITION_PARTS),
    ("statistics", (rules.statistics,), STATISTICS),
    ("forward", (rules.forward,), FORWARD),
    ("optimizer", (rules.optimizer,), OPTIMIZERS),
  ):
    if not set(values) <= set(known):
      raise ValueError(f"{name} is {values}, want of {known}.")
  if not rules.losses:
    raise ValueError(f"losses is (), want at least one of {LOSSES}.")


def create_state(
  variables: Mapping[str, PyTree], rules: Rules
) -> AdaptationState:
  """A state at the source-trained weights, with a fresh optimizer."""
  moving, _ = _split(variables, rules)
  return AdaptationState(
    params=variables["params"],
    balance=variables.get("balance", {}),
    batch_stats=variables["batch_stats"],
    optimizer=_make_tx(rules).init(moving),
  )


def make_step(
  network: ReIDNetwork, rules: Rules
) -> Callable[
  [AdaptationState, PairBatch], tuple[AdaptationState, dict[str, jax.Array]]
]:
  """Binds one adaptation step.

  Args:
    network: with part heads; for the matching loss alone, stripes will do.
    rules: see there.

  Returns:
    step(state, batch) -> (state, losses), pure and not yet jitted. What `rules`
    does not let move comes back bit-identical. For whole arrays, on one device.

  Raises:
    ValueError: for a choice that does not exist, or a positioning loss without
      its head.

  Source: BNTA, Eqs. 10 to 14; Algorithm 1, lines 8 to 11.
  """
  check_rules(rules)
  if "position" in rules.losses and network.heads != "bnta":
    raise ValueError("loss 'position' needs a network with heads 'bnta'.")
  tx = _make_tx(rules)
  adapts_bn = "bn" in rules.groups
  by_batch = (
    adapts_bn and rules.forward == "batch" and rules.statistics == "average"
  )

  def run(variables, images, mode):
    return network.apply(
      variables,
      images,
      mode=mode,
      mutable=["batch_stats"] if mode == "update" else [],
    )

  def step(state, batch):
    moving, rest = _split(state.variables, rules)

    def loss_of(moving):
      variables = traverse_util.unflatten_dict({**rest, **moving})
      mode = "update" if by_batch else "eval"
      outputs, moved = run(variables, batch.image, mode)
      total, losses = _losses(outputs.parts, batch, rules)
      return total, (losses, moved.get("batch_stats"))

    (total, (losses, moved)), grads = jax.value_and_grad(loss_of, has_aux=True)(
      moving
    )
    updates, optimizer = tx.update(grads, state.optimizer, moving)
    moving = _project(optax.apply_updates(moving, updates))
    after = traverse_util.unflatten_dict({**rest, **moving})
    batch_stats = after["batch_stats"]
    if adapts_bn and rules.statistics == "average":
      if moved is None:  # the pass that the loss came from did not look at them
        _, moved = run(state.variables, batch.image, "update")
        moved = moved["batch_stats"]
      batch_stats = _move_statistics(batch_stats, moved, rules)
    state = state.replace(
      params=after["params"],
      balance=after.get("balance", {}),
      batch_stats=batch_stats,
      optimizer=optimizer,
    )
    return state, {**losses, "total": total}

  return step


def group_of(path: tuple[str, ...], known: Collection[tuple]) -> str | None:
  """Group of `GROUPS` that a parameter or rho belongs to, by its name.

  Args:
    path: names from the collection on, e.g. ("params", "backbone", "bn1",
      "bn_scale").
    known: the paths of all leaves; a plain "bias" is of a norm or of a kernel,
      whichever stands beside it.

  Returns:
    The group; None for the classifiers, which never move, and for names that
    this package's layers do not use.
  """
  if path[-1] != "bias":
    return _LEAVES.get(path[-1])
  beside = (name for name in ("scale", "kernel") if (*path[:-1], name) in known)
  return _LEAVES.get(next(beside, ""))


def _split(variables, rules):
  """Flat trees of what moves by its gradient, and of everything else."""
  flat = traverse_util.flatten_dict(dict(variables))
  moving = {}
  for path, value in flat.items():
    if path[0] == "batch_stats":
      if (
        rules.statistics == "gradient"
        and "bn" in rules.groups
        and path[-1] in rules.bn_arrays
      ):
        moving[path] = value
      continue
    group = group_of(path, flat)
    if group not in rules.groups:
      continue
    if group == "bn" and path[-1].removeprefix("bn_") not in rules.bn_arrays:
      continue
    moving[path] = value
  rest = {path: value for path, value in flat.items() if path not in moving}
  return moving, rest


def _losses(parts, batch, rules):
  losses: dict[str, jax.Array] = {}
  total = jnp.zeros(())
  if "position" in rules.losses:
    weights = None
    if rules.position_parts == "paired":
      weights = jnp.zeros(parts.position.shape[:2], parts.position.dtype)
      weights = weights.at[batch.pairs, batch.parts[:, None]].set(1.0)
    losses["position"] = part_losses.position(parts.position, weights=weights)
    total = total + losses["position"]
  if "match" in rules.losses:
    losses["match"] = part_losses.match_pairs(
      parts.features,
      batch.pairs,
      batch.parts,
      margin=rules.margin,
      reduction=rules.reduction,
      symmetric=rules.symmetric,
    )
    total = total + rules.match_weight * losses["match"]
  return total, losses


def _project(moving):
  """Back to where numbers mean something: rho in [0, 1], variances from 0."""

  def project(path, value):
    if path[-1] == "rho":
      return optim.project(value)
    if path[0] == "batch_stats" and path[-1] == "var":
      return jnp.maximum(value, 0)
    return value

  return {path: project(path, value) for path, value in moving.items()}


def _move_statistics(before, moved, rules):
  """The selected running statistics, moved by `rules.momentum`."""

  def move(path, old, new):
    names = tuple(entry.key for entry in path)
    if names[-1] not in rules.bn_arrays:
      return old
    if names[0] == _NECK and not rules.neck:
      return old
    # The layers have moved them by a momentum of their own.
    if rules.momentum == MOMENTUM:
      return new
    return old + rules.momentum / MOMENTUM * (new - old)

  return jax.tree_util.tree_map_with_path(move, before, moved)


def _make_tx(rules):
  if rules.optimizer == "adam":
    return optax.adam(rules.lr)
  return optax.sgd(rules.lr)
