from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import convolution as golden_convolution

from metabin_jax.ops import convolution


def draw(shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape)


def naive_conv(x, kernel, stride, depthwise):
  """Sums over the window pixel by pixel, zero padded as PyTorch pads."""
  kh, kw = kernel.shape[:2]
  ph, pw = (kh - 1) // 2, (kw - 1) // 2
  padded = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
  rows = (x.shape[1] + 2 * ph - kh) // stride + 1
  cols = (x.shape[2] + 2 * pw - kw) // stride + 1
  out = np.zeros((x.shape[0], rows, cols, kernel.shape[-1]))
  for r in range(rows):
    for c in range(cols):
      top, left = r * stride, c * stride
      window = padded[:, top : top + kh, left : left + kw]
      if depthwise:
        out[:, r, c] = np.sum(window * kernel[None, :, :, 0], (1, 2))
      else:
        out[:, r, c] = np.einsum("bhwi,hwio->bo", window, kernel)
  return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 4), (7, 5), (1, 1), (2, 3)])
def test_depthwise_forms_agree(float64, size, stride):
  x, kernel = draw((2, *size, 5)), draw((3, 3, 1, 5), 1)

  def run(form):
    def loss(x, kernel):
      y = convolution.depthwise(x, kernel, stride=stride, form=form)
      return jnp.sum(jnp.sin(y)), y

    run = jax.value_and_grad(loss, (0, 1), has_aux=True)
    return jax.jit(run)(x, kernel)

  shifted, grouped = run("shifted"), run("grouped")
  for a, b in zip(
    jax.tree.leaves(shifted), jax.tree.leaves(grouped), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
  want = naive_conv(x, kernel, stride, depthwise=True)
  np.testing.assert_allclose(shifted[0][1], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("size", [(8, 4), (7, 5)])
def test_conv_equals_a_naive_loop(float64, size, kernel_size, stride):
  x = draw((2, *size, 3))
  kernel = draw((kernel_size, kernel_size, 3, 4), 1)
  got = convolution.conv(x, kernel, stride=stride)
  want = naive_conv(x, kernel, stride, depthwise=False)
  np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_products_of_the_golden_tests_are_the_same_map(
  float64, kernel_size, stride
):
  # The golden training tests trace networks with it; see its docstring.
  x = draw((2, 7, 4, 3))
  kernel = draw((kernel_size, kernel_size, 3, 4), 1)

  def derivatives(conv):
    def loss(x, kernel):
      return jnp.sum(jnp.sin(conv(x, kernel, stride=stride)))

    def curved(x, kernel):
      grads = jax.grad(loss, (0, 1))(x, kernel)
      return sum(jnp.sum(jnp.cos(g)) for g in grads)

    def run(x, kernel):
      y = conv(x, kernel, stride=stride)
      first = jax.grad(loss, (0, 1))(x, kernel)
      return y, first, jax.grad(curved, (0, 1))(x, kernel)

    return jax.jit(run)(x, kernel)

  ours = jax.tree.leaves(derivatives(convolution.conv))
  products = jax.tree.leaves(derivatives(golden_convolution.conv_by_products))
  for a, b in zip(ours, products, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_automatic_form_is_one_of_the_two():
  x = draw((2, 4, 4, 3)).astype(np.float32)
  kernel = draw((3, 3, 1, 3), 1).astype(np.float32)
  auto = convolution.depthwise(x, kernel)
  shifted = convolution.depthwise(x, kernel, form="shifted")
  np.testing.assert_array_equal(auto, shifted)


def test_unknown_form():
  with pytest.raises(ValueError, match="form is 'fast', want auto"):
    convolution.depthwise(
      jnp.zeros((1, 2, 2, 3)), jnp.zeros((3, 3, 1, 3)), form="fast"
    )
