"""Maps of the restitution layer; golden arrays are in golden_norms_test.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import normalization, restitution


def draw(dtype=np.float32):
  """x [3, 4, 2, 6], scale, bias and a gate of width 2."""
  random = np.random.default_rng(0)
  shapes = ((3, 4, 2, 6), (6,), (6,), (6, 2), (2,), (2, 6), (6,))
  x, scale, bias, *gate = (
    random.normal(1, 1, shape).astype(dtype) for shape in shapes
  )
  return x, scale, bias, restitution.Gate(*gate)


def test_equals_the_formula(float64):
  x, scale, bias, gate = draw(np.float64)
  maps = restitution.restitute(x, scale, bias, gate)
  for n in range(3):
    normalized = np.empty_like(x[n])
    for c in range(6):
      values = x[n, :, :, c]
      unit = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
      normalized[:, :, c] = scale[c] * unit + bias[c]
    residual = x[n] - normalized
    hidden = residual.mean((0, 1)) @ gate.squeeze_kernel + gate.squeeze_bias
    hidden = np.maximum(hidden, 0)
    logits = hidden @ gate.excite_kernel + gate.excite_bias
    a = 1 / (1 + np.exp(-logits))
    tight = {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(maps.normalized[n], normalized, **tight)
    np.testing.assert_allclose(
      maps.restored[n], normalized + a * residual, **tight
    )
    np.testing.assert_allclose(
      maps.contaminated[n], normalized + (1 - a) * residual, **tight
    )


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_closed_and_open_gate(logit):
  x, scale, bias, gate = draw()
  gate = gate._replace(excite_bias=np.full(6, logit, np.float32))
  maps = restitution.restitute(x, scale, bias, gate)
  normalized = normalization.instance_norm(x, scale, bias)
  sides = (normalized, x) if logit < 0 else (x, normalized)
  for got, want in zip((maps.restored, maps.contaminated), sides, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_two_parts_are_the_whole():
  x, scale, bias, gate = draw()
  maps = restitution.restitute(x, scale, bias, gate)
  np.testing.assert_allclose(
    maps.restored + maps.contaminated, x + maps.normalized, atol=1e-4
  )


def test_images_do_not_meet():
  x, scale, bias, gate = draw()
  together = restitution.restitute(x, scale, bias, gate)
  alone = restitution.restitute(x[:1], scale, bias, gate)
  for a, b in zip(together, alone, strict=True):
    np.testing.assert_allclose(a[:1], b, rtol=1e-5, atol=1e-6)


def test_dtype_of_x_is_kept():
  x, scale, bias, gate = draw()
  maps = restitution.restitute(jnp.asarray(x, jnp.bfloat16), scale, bias, gate)
  assert {v.dtype for v in maps} == {jnp.dtype(jnp.bfloat16)}


def test_every_parameter_has_a_gradient(float64):
  x, scale, bias, gate = draw(np.float64)

  def loss(parameters):
    maps = restitution.restitute(x, *parameters)
    return jnp.mean(jnp.sin(maps.restored))

  for leaf in jax.tree.leaves(jax.grad(loss)((scale, bias, gate))):
    assert np.max(np.abs(leaf)) > 1e-6


@pytest.mark.parametrize("field", restitution.Gate._fields)
def test_gates_that_do_not_fit(field):
  x, scale, bias, gate = draw()
  wrong = gate._replace(**{field: np.ones((*getattr(gate, field).shape, 1))})
  with pytest.raises(ValueError, match="has shape"):
    restitution.restitute(x, scale, bias, wrong)
  with pytest.raises(ValueError, match="scale has shape"):
    restitution.restitute(x, scale[:2], bias, gate)
