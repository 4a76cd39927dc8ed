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


def slope(function, x, step=1e-6):
  """Central differences of a scalar function."""
  grad = np.zeros_like(x)
  for index in np.ndindex(*x.shape):
    up, down = x.copy(), x.copy()
    up[index] += step
    down[index] -= step
    grad[index] = (function(up) - function(down)) / (2 * step)
  return grad


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_position(reduction, float64):
  logits = GOLDEN["position_logits"]
  loss = jax.jit(functools.partial(part_losses.position, reduction=reduction))
  value, grad = jax.value_and_grad(loss)(jnp.asarray(logits))
  np.testing.assert_allclose(value, GOLDEN[f"position_{reduction}"], LIMIT)
  np.testing.assert_allclose(grad, slope(loss, logits), rtol=0, atol=1e-8)


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
  np.testing.assert_allclose(grad, slope(loss, logits), rtol=0, atol=1e-8)


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
