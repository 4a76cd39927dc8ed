"""Renders one picture: a person before a camera's scene, as it sees them."""

from __future__ import annotations

import functools
import math

import numpy as np

from metabin_jax.data import seeding
from metabin_jax.data.synthetic import (
  colours,
  figure,
  people,
  photograph,
  pose,
  scenes,
  style,
  tube,
)
from metabin_jax.data.synthetic.presets import Preset

# The figure is drawn at twice the file's size and averaged down.
OVERSAMPLING = 2
_TO_LINEAR = colours.to_linear(np.arange(256))
_PASSER_BY = 1_000_000


@functools.lru_cache(maxsize=64)
def _panorama(seed: int, domain: int, camera: int, height: int) -> np.ndarray:
  family = list(style.DOMAINS)[domain]
  return scenes.create_panorama(seed, domain, camera, family, height)


@functools.lru_cache(maxsize=64)
def _camera_style(seed: int, domain: int, camera: int) -> style.Style:
  return style.camera_style(seed, domain, camera)


def render_image(
  preset: Preset, domain: int, pid: int, camera: int, frame: int
) -> np.ndarray:
  """Renders one picture of one identity.

  What belongs to the person hangs on (domain, pid), what belongs to the
  camera on (domain, camera), the walk past the camera on (domain, pid,
  camera), and only pose, framing, occlusion and noise on the frame.

  Args:
    preset: gives the seed and the size.
    domain: index into `style.DOMAINS`.
    pid: number of the identity in its domain.
    camera: number of the camera in its domain.
    frame: number of the picture in this identity's walk past this camera.

  Returns:
    [height, width, 3] uint8; the same bits for the same arguments.
  """
  seed = preset.seed
  person = people.create_person(seed, domain, pid)
  look = _camera_style(seed, domain, camera)
  height, width = preset.height * OVERSAMPLING, preset.width * OVERSAMPLING
  walk = seeding.generator(seed, "synthetic/walk", domain, pid, camera)
  rng = seeding.generator(seed, "synthetic/frame", domain, pid, camera, frame)
  place = seeding.generator(seed, "synthetic/place", domain, camera)
  yaw = _heading(place, walk) + rng.normal(0, 0.22)
  swing = 0.08 if walk.random() < 0.15 else 1.0
  view = pose.View(
    yaw=yaw,
    pitch=math.radians(look.pitch + walk.normal(0, 1.5)),
    phase=walk.uniform(0, 2 * math.pi) + 2.1 * frame + rng.normal(0, 0.3),
    swing=swing,
    # The detector's box: how much of its height the body fills, and where.
    scale=height * (0.875 + rng.normal(0, 0.03)) / max(person.height, 0.93),
    centre_x=width * (0.5 + rng.normal(0, 0.035)),
    ground_y=height * (0.955 + rng.normal(0, 0.018)),
    lean=rng.normal(0, 0.015),
  )
  sun = place.uniform(-0.9, 0.9)
  toward_light = np.array([sun, -0.75, 0.75])
  toward_light /= np.linalg.norm(toward_light)
  layer = tube.create_layer(
    height, width, tuple(float(v) for v in toward_light), look.ambient
  )
  picture = _background(preset, domain, camera, walk, rng)
  _cast_shadow(picture, view, sun, 1 - look.ambient)
  if rng.random() < 0.05:
    _add_passer_by(layer, seed, domain, pid, camera, frame, view, rng)
  figure.draw_figure(layer, person, view)
  picture *= (1 - layer.alpha)[..., None]
  picture += layer.rgb
  if rng.random() < 0.12:
    _occlude(picture, rng)
  small = picture.reshape(
    preset.height, OVERSAMPLING, preset.width, OVERSAMPLING, 3
  ).mean(axis=(1, 3), dtype=np.float32)
  return photograph.take_photograph(small, look, rng)


def _heading(place, walk) -> float:
  """Direction of walking: along the camera's path, either way, or across."""
  path = place.uniform(0, 2 * math.pi)
  if walk.random() < 0.2:
    return float(walk.uniform(0, 2 * math.pi))
  return float(path + math.pi * walk.integers(2) + walk.normal(0, 0.25))


def _background(preset, domain, camera, walk, rng) -> np.ndarray:
  """Cuts the crop's window out of the camera's wide picture, as light."""
  height, width = preset.height * OVERSAMPLING, preset.width * OVERSAMPLING
  wide = _panorama(preset.seed, domain, camera, height)
  room_y, room_x = wide.shape[0] - height, wide.shape[1] - width
  left = walk.uniform(0, room_x) + rng.normal(0, 0.2 * width)
  top = walk.uniform(0, room_y) + rng.normal(0, 0.03 * height)
  left = int(np.clip(left, 0, room_x))
  top = int(np.clip(top, 0, room_y))
  return _TO_LINEAR[wide[top : top + height, left : left + width]]


def _cast_shadow(picture, view, sun: float, strength: float) -> None:
  """Darkens the floor at the feet: a blob, longer away from a hard light."""
  height, width = picture.shape[:2]
  y = (np.arange(height, dtype=np.float32)[:, None] - view.ground_y) / (
    0.028 * view.scale
  )
  x = (np.arange(width, dtype=np.float32)[None] - view.centre_x) / view.scale
  stretch = 0.11 + 0.25 * abs(sun) * strength
  x = (x + 0.2 * sun * strength) / stretch
  dark = np.exp(-0.5 * (x * x + y * y)) * (0.25 + 0.5 * strength)
  picture *= (1 - dark)[..., None]


def _add_passer_by(layer, seed, domain, pid, camera, frame, view, rng) -> None:
  """Draws part of somebody else behind the person."""
  number = _PASSER_BY + ((pid * 64 + camera) * 64 + frame)
  other = people.create_person(seed, domain, number)
  side = rng.choice([-1, 1])
  where = pose.View(
    yaw=rng.uniform(0, 2 * math.pi),
    pitch=view.pitch,
    phase=rng.uniform(0, 2 * math.pi),
    swing=1.0,
    scale=view.scale * rng.uniform(0.75, 0.92),
    centre_x=view.centre_x + side * view.scale * rng.uniform(0.17, 0.26),
    ground_y=view.ground_y - view.scale * rng.uniform(0.02, 0.09),
  )
  figure.draw_figure(layer, other, where)


def _occlude(picture: np.ndarray, rng) -> None:
  """Puts something before the person: a low wall, or a post at the side."""
  height, width = picture.shape[:2]
  colour = colours.to_linear(rng.uniform(40, 190) + rng.normal(0, 5, 3))
  if rng.random() < 0.6:
    top = height * rng.uniform(0.72, 0.9)
    slope = rng.normal(0, 0.06)
    edge = top + slope * (np.arange(width, dtype=np.float32) - width / 2)
    y = np.arange(height, dtype=np.float32)[:, None]
    cover = np.clip(y - edge[None], 0, 1)
    cap = np.clip(y - edge[None] - 5, 0, 1) * 0.35
  else:
    left = width * rng.choice([rng.uniform(0.0, 0.2), rng.uniform(0.68, 0.88)])
    wide = width * rng.uniform(0.08, 0.18)
    x = np.arange(width, dtype=np.float32)[None]
    cover = np.clip(np.minimum(x - left, left + wide - x), 0, 1)
    cover = np.broadcast_to(cover, (height, width))
    cap = np.broadcast_to(0.5 * np.abs((x - left) / wide - 0.4), cover.shape)
  surface = np.clip(colour, 0.01, 1) * (1 - cap)[..., None]
  picture += cover[..., None] * (surface - picture)
