"""Convolutions with PyTorch's symmetric padding.

XLA's grouped convolution on the CPU is several times slower than the nine
shifted multiply-adds that a 3x3 depthwise convolution is; accelerators have
fast kernels for it. `depthwise` picks by backend, and both forms are tested to
agree.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp

# XLA's convolution on the CPU is up to 11 times slower than one matrix product
# on maps of 4x2 and 2x2 pixels (experiments/benchmarks/small_maps.md).
_SMALL_MAP_PIXELS = 9
_PORTABLE = contextvars.ContextVar("portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
  """Within it "auto" means a plain convolution, whatever the backend.

  For what is traced here and runs elsewhere: other programs know convolutions,
  and have their own ways to compute them quickly.
  """
  token = _PORTABLE.set(True)
  try:
    yield
  finally:
    _PORTABLE.reset(token)


def conv(
  x: jax.Array, kernel: jax.Array, *, stride: int = 1, form: str = "auto"
) -> jax.Array:
  """Convolution padded by (size - 1) // 2 on every side, as PyTorch pads.

  Args:
    x: [B, H, W, I].
    kernel: [kh, kw, I, O] with odd kh and kw.
    stride: step in both directions.
    form: "direct" (XLA's convolution), "product" (windows side by side, then
      one matrix product) or "auto": product for tiny maps on the CPU, else
      direct.

  Returns:
    [B, ceil(H / stride), ceil(W / stride), O].

  Raises:
    ValueError: for an unknown form.
  """
  kh, kw, inputs, outputs = kernel.shape
  out_h, out_w = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
  if form == "auto":
    tiny = out_h * out_w <= _SMALL_MAP_PIXELS and kh * kw > 1
    tiny = tiny and _for_this_cpu()
    form = "product" if tiny else "direct"
  pad_h, pad_w = (kh - 1) // 2, (kw - 1) // 2
  if form == "direct":
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      ((pad_h, pad_h), (pad_w, pad_w)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
  if form != "product":
    raise ValueError(f"form is {form!r}, want auto, direct or product.")
  padded = jnp.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
  windows = [
    padded[
      :,
      i : i + (out_h - 1) * stride + 1 : stride,
      j : j + (out_w - 1) * stride + 1 : stride,
    ]
    for i in range(kh)
    for j in range(kw)
  ]
  columns = jnp.concatenate(windows, axis=-1).reshape(-1, kh * kw * inputs)
  flat = jnp.matmul(columns, kernel.reshape(-1, outputs))
  return flat.reshape(x.shape[0], out_h, out_w, outputs)


def depthwise(
  x: jax.Array,
  kernel: jax.Array,
  *,
  stride: int = 1,
  form: str = "auto",
) -> jax.Array:
  """Depthwise convolution, each channel with its own filter.

  Args:
    x: [B, H, W, C].
    kernel: [kh, kw, 1, C] with odd kh and kw.
    stride: step in both directions.
    form: "shifted" (sum of shifted products), "grouped" (XLA's grouped
      convolution) or "auto": shifted on the CPU, grouped elsewhere.

  Returns:
    [B, ceil(H / stride), ceil(W / stride), C].

  Raises:
    ValueError: for an unknown form.
  """
  if form == "auto":
    form = "shifted" if _for_this_cpu() else "grouped"
  if form == "grouped":
    pads = [((size - 1) // 2, (size - 1) // 2) for size in kernel.shape[:2]]
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      pads,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=x.shape[-1],
    )
  if form != "shifted":
    raise ValueError(f"form is {form!r}, want auto, shifted or grouped.")
  kh, kw = kernel.shape[:2]
  out_h, out_w = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
  pad_h, pad_w = (kh - 1) // 2, (kw - 1) // 2
  padded = jnp.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)))
  total: jax.Array | None = None
  for i in range(kh):
    for j in range(kw):
      window = padded[
        :,
        i : i + (out_h - 1) * stride + 1 : stride,
        j : j + (out_w - 1) * stride + 1 : stride,
      ]
      term = window * kernel[i, j].reshape(1, 1, 1, -1)
      total = term if total is None else total + term
  if total is None:
    raise ValueError(f"kernel has shape {kernel.shape}, want taps.")
  return total


def _for_this_cpu():
  return not _PORTABLE.get() and jax.default_backend() == "cpu"
