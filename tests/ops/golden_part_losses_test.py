"""BNTA's losses and gradients against the float64 reference."""

from __future__ import annotations

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import part_losses

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "bnta.npz")
LIMIT = 1e-9


def by_hand(logits, classes, reduction):
  """(softmax - one-hot) / B, over P as well for the mean."""
  e = np.exp(logits - logits.max(-1, keepdims=True))
  grad = e / e.sum(-1, keepdims=True)
  for row, part in np.ndindex(*classes.shape):
    grad[row, part, classes[row, part]] -= 1
  images, parts = classes.shape
  return grad / images / (parts if reduction == "mean" else 1)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_position(reduction, float64):
  logits = GOLDEN["position_logits"]
  loss = jax.jit(functools.partial(part_losses.position, reduction=reduction))
  value, grad = jax.value_and_grad(loss)(jnp.asarray(logits))
  np.testing.assert_allclose(value, GOLDEN[f"position_{reduction}"], LIMIT)
  own = np.broadcast_to(np.arange(logits.shape[1]), logits.shape[:2])
  np.testing.assert_allclose(grad, by_hand(logits, own, reduction), LIMIT)


def test_position_of_chosen_parts(float64):
  logits = GOLDEN["position_logits"]
  weights = np.zeros(logits.shape[:2])
  weights[0, 2] = weights[3, 5] = 1
  expected = 0.0
  for image, part in ((0, 2), (3, 5)):
    row = logits[image, part]
    expected -= row[part] - np.log(np.exp(row).sum())
  value = part_losses.position(logits, weights=weights)
  np.testing.assert_allclose(value, expected / len(logits), LIMIT)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_match_identity(reduction, float64):
  logits, labels = GOLDEN["identity_logits"], GOLDEN["identity_labels"]
  loss = jax.jit(
    lambda x: part_losses.match_identity(x, labels, reduction=reduction)
  )
  value, grad = jax.value_and_grad(loss)(jnp.asarray(logits))
  np.testing.assert_allclose(value, GOLDEN[f"identity_{reduction}"], LIMIT)
  own = np.broadcast_to(np.asarray(labels)[:, None], logits.shape[:2])
  np.testing.assert_allclose(grad, by_hand(logits, own, reduction), LIMIT)


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_match_pairs(case, reduction, symmetric, float64):
  """Case 1 has two equal parts, case 2 a lone pair without a negative."""
  features, rows, parts = (
    GOLDEN[f"pairs{case}_{name}"] for name in ("features", "rows", "parts")
  )
  loss = functools.partial(
    part_losses.match_pairs, reduction=reduction, symmetric=symmetric
  )
  value, grad = jax.value_and_grad(loss)(jnp.asarray(features), rows, parts)
  key = f"pairs{case}_{reduction}_{int(symmetric)}"
  np.testing.assert_allclose(value, GOLDEN[key], LIMIT)
  expected = GOLDEN[f"{key}_grad"]
  np.testing.assert_allclose(
    grad, expected, rtol=0, atol=LIMIT * max(1.0, np.abs(expected).max())
  )


def test_order_of_the_images_does_not_matter(float64):
  features, rows, parts = (
    GOLDEN[f"pairs0_{name}"] for name in ("features", "rows", "parts")
  )
  order = np.random.default_rng(0).permutation(len(features))
  place = np.argsort(order)
  first = part_losses.match_pairs(features, rows, parts)
  again = part_losses.match_pairs(features[order], place[rows], parts)
  np.testing.assert_allclose(first, again, 1e-15)


@pytest.mark.parametrize(
  ("function", "arguments", "said"),
  [
    (part_losses.position, (np.zeros((2, 6, 5)),), "want \\[B, P, P\\]"),
    (
      part_losses.match_identity,
      (np.zeros((2, 6, 5)), np.zeros(3, int)),
      "want \\[B, P, K\\]",
    ),
    (
      part_losses.match_pairs,
      (np.zeros((2, 6, 5)), np.zeros((1, 2), int), np.zeros(2, int)),
      "want \\[B, P, C\\]",
    ),
  ],
)
def test_other_shapes_are_refused(function, arguments, said):
  with pytest.raises(ValueError, match=said):
    function(*arguments)


def test_another_reduction_is_refused():
  with pytest.raises(ValueError, match="reduction is 'max'"):
    part_losses.position(np.zeros((2, 3, 3)), reduction="max")
