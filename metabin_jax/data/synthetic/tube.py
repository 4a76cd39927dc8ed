"""The one drawing primitive: a shaded tube with a width profile."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

# Surface colour at (u, t): u in [-1, 1] across (to the right where the tube
# runs down), t in [0, 1] along. Returns
# [h, w, 3] linear RGB, or (that, [h, w] opacity).
Texture = Callable[[np.ndarray, np.ndarray], object]


@dataclasses.dataclass(slots=True)
class Layer:
  """A transparent picture that parts are drawn on, far ones first.

  Attributes:
    rgb: [H, W, 3] float32 linear light, multiplied by `alpha`.
    alpha: [H, W] float32 coverage, 0..1.
    light: unit vector to the light: right, down, toward the camera.
    ambient: share of light that has no direction, 0..1.
  """

  rgb: np.ndarray
  alpha: np.ndarray
  light: tuple[float, float, float]
  ambient: float


def create_layer(height, width, light, ambient) -> Layer:
  """Returns an empty layer."""
  return Layer(
    np.zeros((height, width, 3), np.float32),
    np.zeros((height, width), np.float32),
    light,
    ambient,
  )


def draw_tube(
  layer: Layer,
  start: tuple[float, float],
  end: tuple[float, float],
  widths,
  colour: np.ndarray | Texture,
  *,
  round_ends: bool = True,
  crease: float = 0.0,
  crease_phase: float = 0.0,
  shade: float = 1.0,
  contact: float = 0.0,
) -> None:
  """Draws a tube from `start` to `end` onto the layer.

  Args:
    layer: changed in place.
    start: (column, row) of t = 0.
    end: (column, row) of t = 1.
    widths: half widths in pixels at equal steps of t, at least two.
    colour: linear RGB, or a texture of (u, t).
    round_ends: half discs beyond both ends; otherwise cut square.
    crease: strength of the folds in the cloth, about 0 to 0.15.
    crease_phase: where the folds lie.
    shade: factor on the light, below 1 for parts in the body's shade.
    contact: darkening that the part throws on what lies just beside it.
  """
  widths = np.asarray(widths, np.float32)
  axis_x, axis_y = end[0] - start[0], end[1] - start[1]
  length = max(math.hypot(axis_x, axis_y), 1e-3)
  axis_x, axis_y = axis_x / length, axis_y / length
  halo = 3.0 if contact else 0.0
  reach = float(widths.max()) + 1.5 + halo
  height, width = layer.alpha.shape
  left = max(0, math.floor(min(start[0], end[0]) - reach))
  right = min(width, math.ceil(max(start[0], end[0]) + reach) + 1)
  top = max(0, math.floor(min(start[1], end[1]) - reach))
  bottom = min(height, math.ceil(max(start[1], end[1]) + reach) + 1)
  if left >= right or top >= bottom:
    return
  dx = np.arange(left, right, dtype=np.float32)[None] + 0.5 - start[0]
  dy = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - start[1]
  along = dx * axis_x + dy * axis_y
  across = dx * axis_y - dy * axis_x
  t = np.clip(along / length, 0, 1)
  half = np.interp(t, np.linspace(0, 1, len(widths)), widths)
  half = np.maximum(half, 0.3).astype(np.float32)
  beyond = along - t * length
  if round_ends:
    inside = half - np.hypot(across, beyond)
  else:
    inside = np.minimum(half - np.abs(across), -np.abs(beyond) + 0.5)
  cover = np.clip(inside + 0.5, 0, 1)
  u = np.clip(across / half, -1, 1)
  if callable(colour):
    surface = colour(u, t)
    if isinstance(surface, tuple):
      surface, opacity = surface
      cover = cover * opacity
  else:
    surface = colour
  # The normal of a cylinder; u grows along (axis_y, -axis_x).
  facing = np.sqrt(np.maximum(1 - u * u, 0))
  light_x, light_y, light_z = layer.light
  side = light_x * axis_y - light_y * axis_x
  diffuse = np.maximum(u * side + facing * light_z, 0)
  lit = layer.ambient * (0.75 + 0.25 * facing) + (1 - layer.ambient) * diffuse
  if crease:
    folds = np.sin(9 * t + 2.2 * u + crease_phase) * np.sin(
      23 * t - 3.5 * u + 2 * crease_phase
    )
    lit = lit * (1 + crease * folds)
  box = (slice(top, bottom), slice(left, right))
  keep = 1 - cover
  if contact:
    keep_rgb = keep * (1 - contact * np.clip(1 + inside / halo, 0, 1))
  else:
    keep_rgb = keep
  light = (cover * lit * np.float32(shade))[..., None]
  layer.rgb[box] = layer.rgb[box] * keep_rgb[..., None] + light * surface
  layer.alpha[box] = layer.alpha[box] * keep + cover
