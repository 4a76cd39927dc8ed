"""The colour of light, from its temperature to camera channel gains."""

from __future__ import annotations

import numpy as np

# XYZ to linear sRGB, IEC 61966-2-1.
_XYZ_TO_RGB = np.array(
  [
    [3.2406, -1.5372, -0.4986],
    [-0.9689, 1.8758, 0.0415],
    [0.0557, -0.2040, 1.0570],
  ]
)
_LUMA = np.array([0.2126, 0.7152, 0.0722])


def planckian_xy(kelvin: float) -> tuple[float, float]:
  """CIE 1931 chromaticity of a black body.

  Args:
    kelvin: 1,667 to 25,000.

  Returns:
    (x, y).

  Source: the cubic fit of Kim et al., US patent 7,024,034 (2006).
  """
  k = 1e3 / kelvin
  if kelvin <= 4000:
    x = -0.2661239 * k**3 - 0.2343589 * k**2 + 0.8776956 * k + 0.179910
  else:
    x = -3.0258469 * k**3 + 2.1070379 * k**2 + 0.2226347 * k + 0.240390
  if kelvin <= 2222:
    y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
  elif kelvin <= 4000:
    y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
  else:
    y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
  return x, y


def channel_gains(
  kelvin: float, white_balance: float, tint: float, mired_error: float = 0.0
) -> np.ndarray:
  """Von Kries gains that are left after an incomplete white balance.

  The raw gain g of a channel is the light's linear sRGB value over that of
  6,500 K. A camera that corrects the share w of the cast leaves g ** (1 - w).

  Args:
    kelvin: colour temperature of the light.
    white_balance: w in [0, 1]; 1 removes the cast, 0 leaves all of it.
    tint: further gain of green in EV, for fluorescent and discharge lamps
      that lie off the black-body line; negative is magenta.
    mired_error: shift of the corrected picture along the black-body line, in
      reciprocal megakelvin from 6,500 K; positive is towards red.

  Returns:
    [3] gains of linear R, G, B with luma 1: a cast moves no exposure.
  """
  light = _linear_rgb(kelvin) / _linear_rgb(6500.0)
  gains = np.maximum(light, 0.02) ** (1.0 - white_balance)
  error = _linear_rgb(1e6 / (1e6 / 6500.0 + mired_error))
  gains = gains * error / _linear_rgb(6500.0) * [1.0, 2.0**tint, 1.0]
  return gains / (_LUMA @ gains)


def _linear_rgb(kelvin: float) -> np.ndarray:
  x, y = planckian_xy(kelvin)
  return _XYZ_TO_RGB @ np.array([x / y, 1.0, (1 - x - y) / y])
