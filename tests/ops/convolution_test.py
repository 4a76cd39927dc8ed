from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_programs_for_other_machines_hold_convolutions():
  def forms():
    x, kernel = jnp.ones((2, 2, 2, 4)), jnp.ones((3, 3, 4, 4))
    for run, k in (
      (convolution.conv, kernel),
      (convolution.depthwise, kernel[:, :, :1]),
    ):
      jaxpr = jax.make_jaxpr(functools.partial(run))(x, k)
      yield any(
        e.primitive.name == "conv_general_dilated" for e in jaxpr.jaxpr.eqns
      )

  assert not any(forms())
  with convolution.portable():
    assert all(forms())
  assert not any(forms())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("size", [(8, 4), (7, 5), (4, 2), (1, 1)])
def test_conv_equals_a_naive_loop(float64, size, kernel_size, stride):
  x = draw((2, *size, 3))
  kernel = draw((kernel_size, kernel_size, 3, 4), 1)
  got = convolution.conv(x, kernel, stride=stride)
  want = naive_conv(x, kernel, stride, depthwise=False)
  np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("size", [(7, 4), (4, 2), (1, 1)])
def test_both_forms_of_conv_agree(float64, size, kernel_size, stride):
  x = draw((2, *size, 3))
  kernel = draw((kernel_size, kernel_size, 3, 4), 1)

  def derivatives(form):
    conv = functools.partial(convolution.conv, stride=stride, form=form)

    def loss(x, kernel):
      return jnp.sum(jnp.sin(conv(x, kernel)))

    def curved(x, kernel):
      grads = jax.grad(loss, (0, 1))(x, kernel)
      return sum(jnp.sum(jnp.cos(g)) for g in grads)

    def run(x, kernel):
      y = conv(x, kernel)
      first = jax.grad(loss, (0, 1))(x, kernel)
      return y, first, jax.grad(curved, (0, 1))(x, kernel)

    return jax.jit(run)(x, kernel)

  direct = jax.tree.leaves(derivatives("direct"))
  product = jax.tree.leaves(derivatives("product"))
  for a, b in zip(direct, product, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_automatic_form_is_one_of_the_two():
  x = draw((2, 4, 4, 3)).astype(np.float32)
  kernel = draw((3, 3, 1, 3), 1).astype(np.float32)
  auto = convolution.depthwise(x, kernel)
  shifted = convolution.depthwise(x, kernel, form="shifted")
  np.testing.assert_array_equal(auto, shifted)


@pytest.mark.parametrize(
  ("size", "kernel_size", "form"),
  [
    ((4, 2), 3, "product"),
    ((3, 3), 3, "product"),
    ((5, 2), 3, "direct"),
    ((4, 2), 1, "direct"),
  ],
)
def test_automatic_form_of_conv(size, kernel_size, form):
  x, kernel = jnp.zeros((2, *size, 3)), jnp.zeros((kernel_size,) * 2 + (3, 4))
  auto = str(jax.make_jaxpr(convolution.conv)(x, kernel))
  assert ("dot_general" in auto) == (form == "product")
  assert ("conv_general_dilated" in auto) == (form == "direct")


@pytest.mark.parametrize("function", ["conv", "depthwise"])
def test_unknown_form(function):
  with pytest.raises(ValueError, match="form is 'fast', want auto"):
    getattr(convolution, function)(
      jnp.zeros((1, 2, 2, 3)), jnp.zeros((3, 3, 1, 3)), form="fast"
    )
