"""The losses of MetaBIN: masks over a batch, static shapes, no loops.

All of them take un-normalized pooled features (before the BNNeck), except the
cross entropy, which takes logits. Scalars come back in float32 or wider.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from metabin_jax.ops import distances

MARGIN = 0.3
SMOOTHING = 0.1


def cross_entropy(
  logits: jax.Array,
  labels: jax.Array,
  *,
  smoothing: float = SMOOTHING,
  spread: str = "others",
) -> jax.Array:
  """Mean cross entropy with label smoothing.

  Args:
    logits: [B, K].
    labels: [B] class indices in [0, K).
    smoothing: probability mass taken from the true class, in [0, 1).
    spread: "others" gives smoothing / (K - 1) to each wrong class (released
      code); "all" gives smoothing / K to every class, the true one included
      (Szegedy et al., which the paper cites).

  Returns:
    Scalar, mean over the batch.

  Raises:
    ValueError: for an unknown `spread` or shapes that do not fit.

  Source: reference losses/cross_entropy_loss.py.
  Differs: the reference divides by the number of samples with a non-zero
    loss, which is the batch size unless a loss underflows to exactly 0.
  """
  if logits.ndim != 2 or labels.shape != logits.shape[:1]:
    raise ValueError(
      f"logits are {logits.shape} and labels {labels.shape}, want [B, K], [B]."
    )
  if spread not in ("others", "all"):
    raise ValueError(f"spread is {spread!r}, want 'others' or 'all'.")
  classes = logits.shape[1]
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  log_p = jax.nn.log_softmax(logits, axis=1)
  true = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
  total = jnp.sum(log_p, axis=1)
  if spread == "others":
    share = smoothing / max(classes - 1, 1)
    per_sample = (1 - smoothing) * true + share * (total - true)
  else:
    per_sample = (1 - smoothing) * true + smoothing / classes * total
  return -jnp.mean(per_sample)


def triplet(
  features: jax.Array, pids: jax.Array, *, margin: float = MARGIN
) -> jax.Array:
  """Batch-hard triplet loss, mean_i max(0, d+_i - d-_i + margin).

  d+ is the farthest image of the same person, the anchor itself included (so a
  person with one image has d+ = 0); d- the nearest image of another person.

  Args:
    features: [B, D].
    pids: [B] identity of each row.
    margin: at least 0.

  Returns:
    Scalar. Anchors of a batch with a single person contribute 0.

  Source: Hermans et al. (arXiv:1703.07737), Eq. 5; reference
    losses/triplet_loss.py.
  """
  distance = distances.pairwise_euclidean(features, features)
  same = pids[:, None] == pids[None, :]
  positive = _farthest(distance, same)
  negative = _nearest(distance, ~same)
  found = jnp.any(~same, axis=1)
  gap = jnp.where(found, positive - jnp.where(found, negative, 0.0), -margin)
  return jnp.mean(jax.nn.relu(gap + margin))


def shuffle(
  features: jax.Array, pids: jax.Array, domains: jax.Array
) -> jax.Array:
  """Inter-domain shuffle loss, mean_i softplus(d_inter_i - d_intra_i).

  d_inter is the farthest image of any other domain (whoever it shows, the
  anchor itself as the fallback), d_intra the nearest image of another person
  in the anchor's own domain. Minimizing pulls domains into each other.

  Args:
    features: [B, D].
    pids: [B] identity of each row.
    domains: [B] domain of each row.

  Returns:
    Scalar. Anchors without another person in their domain contribute 0.

  Source: MetaBIN, Eq. 4; selection as in the reference's `TripletLoss_add`.
  Differs: a stable softplus cannot overflow, so the reference's fallback to a
    hinge never applies; an anchor without a candidate gives 0 where the
    reference raises.
  """
  distance = distances.pairwise_euclidean(features, features)
  same_domain = domains[:, None] == domains[None, :]
  itself = jnp.eye(pids.shape[0], dtype=bool)
  other_person = same_domain & (pids[:, None] != pids[None, :])
  inter = _farthest(distance, ~same_domain | itself)
  intra = _nearest(distance, other_person)
  found = jnp.any(other_person, axis=1)
  gap = jnp.where(found, inter - jnp.where(found, intra, 0.0), 0.0)
  return jnp.mean(jnp.where(found, jax.nn.softplus(gap), 0.0))


def scatter(
  features: jax.Array, domains: jax.Array, *, normalize: bool = True
) -> jax.Array:
  """Intra-domain scatter loss: mean cosine to the centroid of the domain.

  Args:
    features: [B, D].
    domains: [B] domain of each row.
    normalize: take the centroid of L2-normalized features (released code)
      rather than of raw ones (the paper's formula).

  Returns:
    Scalar in [-1, 1]: the mean over domains of the mean over their images.
    Minimizing drives the images of a domain apart.

  Source: MetaBIN, Eq. 3; reference losses/domain_SCT_loss.py.
  """
  features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
  if normalize:
    features = distances.l2_normalize(features)
  same = domains[:, None] == domains[None, :]
  weights = same.astype(features.dtype)
  count = jnp.sum(weights, axis=1)
  # HIGHEST: a centroid must not be rounded to bfloat16 or TF32.
  centroids = jnp.matmul(
    weights / count[:, None], features, precision=jax.lax.Precision.HIGHEST
  )
  cosine = jnp.sum(
    distances.l2_normalize(features, 0.0)
    * distances.l2_normalize(centroids, 0.0),
    axis=1,
  )
  num_domains = jnp.sum(1 / count)
  return jnp.sum(cosine / count) / num_domains


def _farthest(distance, mask):
  """Largest entry of each row inside the mask, which holds at least one."""
  return jnp.max(jnp.where(mask, distance, -jnp.inf), axis=1)


def _nearest(distance, mask):
  """Smallest entry of each row inside the mask; infinite where it is empty."""
  return jnp.min(jnp.where(mask, distance, jnp.inf), axis=1)
