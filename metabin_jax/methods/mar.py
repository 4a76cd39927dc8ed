"""MAR: a new site learned without labels, by soft multilabels.

Half of a batch shows persons of a labelled set, who become reference agents;
the other half images of the new site, without labels. One step takes

  L = L_MDL + lambda_1 L_CML + lambda_2 (L_AL + beta L_RJ)          (Eq. 9)

with the four losses of ops/mining.py, ops/cross_view.py and
ops/joint_embedding.py. What it remembers of the site (a soft multilabel of
every image, the threshold of mining, the centres of the views) is part of the
training state.

Source: Yu et al., "Unsupervised Person Re-identification by Soft Multilabel
  Learning" (CVPR 2019), its supplement, and the numbers of its public code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from metabin_jax.methods import optim
from metabin_jax.methods.joint import Metrics
from metabin_jax.methods.state import TrainState
from metabin_jax.models import ReIDNetwork
from metabin_jax.ops import (
  collectives,
  cross_view,
  joint_embedding,
  mining,
  soft_multilabels,
)

# Rows of the memory: a multiple of this, which most numbers of devices divide.
_ROWS = 64


class Memory(struct.PyTreeNode):
  """What a run remembers of the site."""

  multilabels: jax.Array  # float32 [R, K], a row for each image, then zeros
  seen: jax.Array  # bool [R], which rows have been written
  threshold: jax.Array  # scalar T, the agreement of positive pairs
  centers: cross_view.Centers  # [K] each


class Rules(NamedTuple):
  """The numbers of the method; defaults are those of its code.

  Attributes:
    ratio: p, share of the pairs of a batch that is mined.
    view_weight: lambda_1, of L_CML.
    source_weight: lambda_2, of L_AL + beta L_RJ.
    joint_weight: beta, of L_RJ.
    scale: of the cosines in both softmaxes.
    margin: of L_RJ.
    center_momentum: share of a batch in the centres; the code has the size of
      the batch, both halves, over 10,000.
    label_momentum: share of the old row in the memory.
    threshold_momentum: share of a batch in T.
    joint_form: of L_RJ, one of `joint_embedding.FORMS`.
    view_reduction: of L_CML, one of `cross_view.REDUCTIONS`.
  """

  ratio: float = mining.RATIO
  view_weight: float = 2e-4
  source_weight: float = 50.0
  joint_weight: float = 0.2
  scale: float = soft_multilabels.SCALE
  margin: float = joint_embedding.MARGIN
  center_momentum: float = 0.0368
  label_momentum: float = 0.9
  threshold_momentum: float = mining.MOMENTUM
  joint_form: str = "code"
  view_reduction: str = "mean"


def create_memory(
  num_images: int, threshold: Any, centers: cross_view.Centers
) -> Memory:
  """A memory without any multilabel; R is N, rounded up to a multiple of 64.

  Args:
    num_images: N, images of the site.
    threshold: T to start from.
    centers: centres to start from; the number of agents is theirs.
  """
  centers = cross_view.Centers(*(jnp.asarray(value) for value in centers))
  num_agents = centers.mean.shape[0]
  rows = -(-num_images // _ROWS) * _ROWS
  return Memory(
    multilabels=jnp.zeros((rows, num_agents), centers.mean.dtype),
    seen=jnp.zeros(rows, bool),
    threshold=jnp.asarray(threshold, centers.mean.dtype),
    centers=centers,
  )


def empty_memory(num_images: int, num_agents: int) -> Memory:
  """A memory of the right shapes, to be filled or restored."""
  # An array each: the step is given both to write over.
  centers = cross_view.Centers(jnp.zeros(num_agents), jnp.zeros(num_agents))
  return create_memory(num_images, 0.0, centers)


def log_multilabels(
  pooled: jax.Array, classifier: jax.Array, scale: float
) -> jax.Array:
  """Log soft multilabels of images.

  Args:
    pooled: [N, D], what the network pools.
    classifier: [D, K], its columns are the agents.
    scale: of the cosines.

  Returns:
    [N, K].
  """
  cosines = soft_multilabels.similarity(
    soft_multilabels.project(pooled), soft_multilabels.project(classifier.T)
  )
  return soft_multilabels.log_multilabels(cosines, scale)


def make_train_step(
  network: ReIDNetwork,
  tx_params: optax.GradientTransformation,
  rate: optax.Schedule,
  rules: Rules,
  *,
  num_views: int,
  first_mining_step: int,
  bias_factor: float = 1.0,
  classifier_factor: float = 1.0,
) -> Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]:
  """Binds one iteration.

  Args:
    network: without a neck, see `models.create`; its classifier's columns are
      the agents.
    tx_params: from `optim.make_params_tx`.
    rate: learning rate by iteration.
    rules: see there.
    num_views: camera views of the site, V.
    first_mining_step: iteration from which pairs are mined and multilabels
      remembered (the code: those of one epoch).
    bias_factor: learning-rate factor of biases.
    classifier_factor: further learning-rate factor of the classifier.

  Returns:
    step(state, source, target) -> (state, metrics), pure and not yet jitted.
    `source` has `image` [B, H, W, 3] and `pid` [B]; `target` has `image`,
    `row` [T] (of the memory, none twice), `view` [T] in [0, V), and `pid` [T]
    or None, by which true pairs are counted and nothing else. The two halves
    pass through the network one after the other, each normalized by its own
    moments; `state.memory` is a `Memory`.

  Source: MAR, Eq. 9 and Algorithm 1 of the supplement, `train_epoch` of its
    code.
  """

  def step(state: TrainState, source: Any, target: Any):
    active = state.step >= first_mining_step

    def loss_of(params):
      variables = {**state.variables, "params": params}
      pooled = []
      for images in (source.image, target.image):
        outputs, moved = network.apply(
          variables, images, mode="update", mutable=["batch_stats"]
        )
        variables = {**variables, **moved}
        pooled.append(outputs.pooled)
      # Whole batches: pairs, views and memory know no devices.
      batch = _Whole(
        *collectives.gather(
          (*pooled, source.pid, target.row, target.view, target.pid)
        )
      )
      losses, counts, memory = _look(
        batch,
        params[optim.CLASSIFIER],
        state.memory,
        rules,
        num_views=num_views,
        active=active,
      )
      losses = collectives.mean(losses)
      joint = losses["al"] + rules.joint_weight * losses["rj"]
      total = losses["mdl"] + rules.view_weight * losses["cml"]
      total = total + rules.source_weight * joint
      stats = variables.get("batch_stats", state.batch_stats)
      return total, (losses, counts, memory, stats)

    (total, aux), grads = collectives.value_and_grad(loss_of)(state.params)
    losses, counts, memory, batch_stats = aux
    learning_rate = rate(state.step)
    metrics = {f"loss/{name}": value for name, value in losses.items()}
    metrics |= {"loss/total": total, "lr": learning_rate}
    metrics |= {f"mining/{name}": value for name, value in counts.items()}
    params, opt_params = optim.apply_params(
      tx_params,
      grads,
      state.opt_params,
      state.params,
      learning_rate,
      bias_factor,
      classifier_factor,
    )
    state = state.replace(
      step=state.step + 1,
      params=params,
      opt_params=opt_params,
      batch_stats=batch_stats,
      memory=memory,
    )
    return state, metrics

  return step


class _Whole(NamedTuple):
  """A batch of both halves behind the network."""

  source: jax.Array  # [B, D] pooled
  target: jax.Array  # [T, D] pooled
  labels: jax.Array  # [B]
  row: jax.Array  # [T]
  view: jax.Array  # [T]
  pid: Any  # [T] or None


def _look(batch, classifier, memory, rules, *, num_views, active):
  """The four losses, what to log of mining, and what to remember."""
  f_s, f_t, agents = (
    soft_multilabels.project(rows)
    for rows in (batch.source, batch.target, classifier.T)
  )
  fixed = jax.lax.stop_gradient(agents)
  logs = soft_multilabels.log_multilabels(
    soft_multilabels.similarity(f_t, fixed), rules.scale
  )
  cml, centers = cross_view.consistency(
    logs,
    batch.view,
    memory.centers,
    num_views=num_views,
    momentum=rules.center_momentum,
    reduction=rules.view_reduction,
  )
  multilabels, seen = soft_multilabels.remember(
    memory.multilabels,
    memory.seen,
    batch.row,
    jax.lax.stop_gradient(jnp.exp(logs)),
    momentum=rules.label_momentum,
    active=active,
  )
  mined = mining.mine(
    f_t,
    multilabels[batch.row],
    memory.threshold,
    ratio=rules.ratio,
    momentum=rules.threshold_momentum,
  )
  losses = {
    "mdl": jnp.where(active, mining.discriminative(f_t, mined), 0.0),
    "cml": cml,
    "al": joint_embedding.agent_learning(
      soft_multilabels.similarity(f_s, agents), batch.labels, rules.scale
    ),
    "rj": joint_embedding.joint_embedding(
      f_s,
      batch.labels,
      f_t,
      fixed,
      margin=rules.margin,
      form=rules.joint_form,
    ),
  }
  threshold = jnp.where(active, mined.threshold, memory.threshold)
  positive = mined.positive & active
  counts = {
    "pairs": jnp.where(active, positive.size, 0),
    "positives": jnp.sum(positive),
    "threshold": threshold,
  }
  if batch.pid is not None:
    same = batch.pid[mined.first] == batch.pid[mined.second]
    counts["true_pairs"] = jnp.sum(same & active)
    counts["true_positives"] = jnp.sum(same & positive)
  return losses, counts, Memory(multilabels, seen, threshold, centers)
