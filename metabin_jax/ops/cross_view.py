"""Consistency of soft multilabels between camera views (L_CML of MAR)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

REDUCTIONS = ("mean", "sum")


class Centers(NamedTuple):
  """Mean and standard deviation of log multilabels, over all views.

  Attributes:
    mean: [K].
    std: [K].
  """

  mean: jax.Array
  std: jax.Array


def view_moments(
  log_labels: jax.Array, views: jax.Array, num_views: int
) -> tuple[Centers, jax.Array]:
  """Moments of each view.

  Args:
    log_labels: [N, K].
    views: int [N] in [0, num_views).
    num_views: V.

  Returns:
    (moments, count): mean and standard deviation (with n - 1) [V, K], zero for
    views without an image or, the latter, with one; images of each view [V].
    The derivative of the standard deviation is 0 where it is 0.
  """
  belongs = jax.nn.one_hot(views, num_views, axis=0, dtype=log_labels.dtype)
  count = jnp.sum(belongs, axis=1)
  exact = jax.lax.Precision.HIGHEST
  mean = jnp.matmul(belongs, log_labels, precision=exact)
  mean = mean / jnp.maximum(count, 1)[:, None]
  away = jnp.square(log_labels - mean[views])
  var = jnp.matmul(belongs, away, precision=exact)
  var = var / jnp.maximum(count - 1, 1)[:, None]
  constant = var == 0
  std = jnp.where(constant, 0.0, jnp.sqrt(jnp.where(constant, 1.0, var)))
  return Centers(mean, std), count


def initial_centers(
  log_labels: jax.Array, views: jax.Array, num_views: int
) -> Centers:
  """Centres to start from: the mean over views of their moments.

  Args:
    log_labels: [N, K] of all images.
    views: int [N].
    num_views: V.

  Returns:
    The centres, over the views with two or more images; 0 if there is none.

  Source: MAR's code, `init_centers`, where a view with one image makes the
    centres NaN.
  """
  moments, count = view_moments(log_labels, views, num_views)
  return _average(moments, count >= 2)


def consistency(
  log_labels: jax.Array,
  views: jax.Array,
  centers: Centers,
  *,
  num_views: int,
  momentum: float,
  reduction: str = "mean",
) -> tuple[jax.Array, Centers]:
  """Every view's multilabels distributed like those of all views.

  The simplified 2-Wasserstein distance of a view to the centres is
  (|mu_v - mu|^2 + |sigma_v - sigma|^2) / 2. The centres move to the batch's
  before the loss, without a gradient.

  Args:
    log_labels: [B, K]; the loss has a gradient by them alone.
    views: int [B] in [0, num_views).
    centers: before this batch.
    num_views: V.
    momentum: share of this batch in the centres.
    reduction: over the views: "mean" (the code) or "sum" (the paper's Eq. 7).

  Returns:
    (loss, centres). Views with one image take no part; without any other view
    the loss is 0 and the centres stay.

  Raises:
    ValueError: for another reduction.

  Source: MAR (CVPR 2019), Eq. 7, and Eq. 2 of its supplement; the running
    centres as in its code, which fails where no view has two images.
  """
  if reduction not in REDUCTIONS:
    raise ValueError(f"reduction is {reduction!r}, want one of {REDUCTIONS}.")
  moments, count = view_moments(log_labels, views, num_views)
  taken = count >= 2
  found = jnp.any(taken)
  batch = jax.lax.stop_gradient(_average(moments, taken))
  moved = Centers(
    *(
      jnp.where(found, (1 - momentum) * old + momentum * new, old)
      for old, new in zip(centers, batch, strict=True)
    )
  )
  distance = sum(
    jnp.sum(jnp.square(own - center[None]), axis=1) / 2
    for own, center in zip(moments, moved, strict=True)
  )
  loss = jnp.sum(jnp.where(taken, distance, 0.0))
  if reduction == "mean":
    loss = loss / jnp.maximum(jnp.sum(taken), 1)
  return loss, moved


def _average(moments, taken):
  """Mean over the views that take part; zero if there is none."""
  weights = taken / jnp.maximum(jnp.sum(taken), 1)
  return Centers(
    *(jnp.sum(weights[:, None] * value, axis=0) for value in moments)
  )
