"""Agents among the persons that they stand for (L_AL and L_RJ of MAR)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from metabin_jax.ops import losses, soft_multilabels

MARGIN = 1.0
FORMS = ("code", "paper")


def agent_learning(
  cosines: jax.Array,
  labels: jax.Array,
  scale: float = soft_multilabels.SCALE,
) -> jax.Array:
  """Every agent near its own person's images, and far from the others'.

  Args:
    cosines: [B, K] of labelled images and all agents.
    labels: [B] in [0, K).
    scale: of the cosines.

  Returns:
    Scalar: mean cross entropy of softmax_k(scale cos_k).

  Source: MAR (CVPR 2019), Eq. 2.
  """
  return losses.cross_entropy(scale * cosines, labels, smoothing=0.0)


def joint_embedding(
  source: jax.Array,
  labels: jax.Array,
  target: jax.Array,
  agents: jax.Array,
  *,
  margin: float = MARGIN,
  form: str = "code",
) -> jax.Array:
  """Agents where persons without a label can be told apart by them.

  An agent is hard for an image if their cosine is above 1 - margin / 2, which
  on the sphere is a squared distance below the margin.

  "code": the mean of all terms |f - a_label|^2 of labelled images, and, of
    every image, labelled or not, that has a hard agent (but its own), the mean
    of max(0, margin - |f - a|^2) over these.
  "paper": the sum of max(0, margin - |f - a|^2) over images without a label
    and their hard agents, plus the sum of |f - a_label|^2.

  Args:
    source: [B, D] labelled images, of `soft_multilabels.project`.
    labels: [B] in [0, K).
    target: [T, D] images without a label, likewise.
    agents: [K, D] likewise; constants here.
    margin: m, above 0.
    form: one of `FORMS`.

  Returns:
    Scalar; the gradient goes to the features alone.

  Raises:
    ValueError: for another form.

  Source: MAR, Eq. 8; `JointLoss` of its code.
  """
  if form not in FORMS:
    raise ValueError(f"form is {form!r}, want one of {FORMS}.")
  agents = jax.lax.stop_gradient(agents)
  own = agents[labels]
  pull = jnp.sum(jnp.square(source - own), axis=1)
  push_target, hard_target = _push(target, agents, margin)
  if form == "paper":
    return jnp.sum(pull) + jnp.sum(jnp.where(hard_target, push_target, 0.0))
  push_source, hard_source = _push(source, agents, margin)
  itself = jax.nn.one_hot(labels, agents.shape[0], dtype=bool)
  terms, count = jnp.sum(pull), jnp.asarray(pull.shape[0])
  for push, hard in (
    (push_source, hard_source & ~itself),
    (push_target, hard_target),
  ):
    number = jnp.sum(hard, axis=1)
    total = jnp.sum(jnp.where(hard, push, 0.0), axis=1)
    terms = terms + jnp.sum(total / jnp.maximum(number, 1))
    count = count + jnp.sum(number > 0)
  return terms / count


def _push(features, agents, margin):
  """Hinge of every image and agent, and which agents are hard."""
  cosines = soft_multilabels.similarity(features, agents)
  lengths = [jnp.sum(jnp.square(v), axis=1) for v in (features, agents)]
  squared = lengths[0][:, None] + lengths[1][None, :] - 2 * cosines
  hard = jax.lax.stop_gradient(cosines) > 1 - margin / 2
  return jax.nn.relu(margin - squared), hard
