"""Turns linear light into the picture that a camera would have stored."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from metabin_jax.data.synthetic import illuminant
from metabin_jax.data.synthetic.style import Style


def take_photograph(
  light: np.ndarray, style: Style, rng: np.random.Generator
) -> np.ndarray:
  """Applies light colour, lens, sensor, response and recorder, in this order.

  Args:
    light: [H, W, 3] float32 linear radiance under neutral light, 0..1.
    style: the camera's.
    rng: noise grain and the direction of the light's falloff.

  Returns:
    [H, W, 3] uint8, the same size.
  """
  height, width = light.shape[:2]
  gains = illuminant.channel_gains(
    style.kelvin, style.white_balance, style.tint, style.mired_error
  )
  light = light * (gains * 2.0**style.exposure).astype(np.float32)
  light = light * _falloff(height, width, style.falloff, rng)[..., None]
  # The veil has the light's colour and the brightness of the scene itself.
  veil = gains.astype(np.float32) * np.float32(0.5 * 2.0**style.exposure)
  light = light * (1 - style.haze) + style.haze * veil
  light = _blur(light, style.blur * height / 128)
  rows = max(8, min(height, round(style.rows * height / 128)))
  columns = max(4, round(width * rows / height))
  seen = _resize(light, rows, columns, Image.Resampling.BOX)
  # Photon noise: the variance grows with the light; the offset is read noise.
  unit = 0.18 * 10.0 ** (-style.snr / 10)
  spread = np.sqrt(unit * (np.maximum(seen, 0) + 0.01))
  seen = seen + spread * rng.standard_normal(seen.shape, dtype=np.float32)
  code = np.clip(seen, 0, 1) ** np.float32(1 / style.gamma)
  code = 0.5 + (code - 0.5) * np.float32(style.contrast)
  # Written out, not a matrix product: its sums must not depend on the BLAS.
  luma = 0.299 * code[..., :1] + 0.587 * code[..., 1:2] + 0.114 * code[..., 2:]
  code = luma + (code - luma) * np.float32(style.saturation)
  stored = (np.clip(code, 0, 1) * 255).round().astype(np.uint8)
  recorder = io.BytesIO()
  Image.fromarray(stored).save(recorder, "JPEG", quality=style.codec)
  image: Image.Image = Image.open(recorder)
  if (rows, columns) != (height, width):
    image = image.resize((width, height), Image.Resampling.BICUBIC)
  return np.asarray(image)


def _falloff(height: int, width: int, stops: float, rng) -> np.ndarray:
  """Factor on the light: `stops` EV from one side of the crop to the other."""
  angle = rng.uniform(0, 2 * np.pi)
  x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
  y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
  ramp = np.cos(angle) * x + np.sin(angle) * y
  return np.exp2(np.float32(stops) * ramp).astype(np.float32)


def _blur(light: np.ndarray, sigma: float) -> np.ndarray:
  """Gaussian blur of [H, W, 3] light with repeated borders."""
  reach = max(1, int(np.ceil(2.5 * sigma)))
  offset = np.arange(-reach, reach + 1)
  kernel = np.exp(-0.5 * (offset / max(sigma, 1e-3)) ** 2)
  kernel = (kernel / kernel.sum()).astype(np.float32)
  height, width = light.shape[:2]
  padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), "edge")
  down = sum(k * padded[i : i + height] for i, k in enumerate(kernel))
  return sum(k * down[:, i : i + width] for i, k in enumerate(kernel))


def _resize(light: np.ndarray, height: int, width: int, how) -> np.ndarray:
  if light.shape[:2] == (height, width):
    return light
  channels = [
    np.asarray(
      Image.fromarray(np.ascontiguousarray(light[..., c])).resize(
        (width, height), how
      )
    )
    for c in range(3)
  ]
  return np.stack(channels, axis=-1)
