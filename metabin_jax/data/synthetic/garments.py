"""Cloth: how patterns, fastenings and straps lie on the body's surface.

A texture knows the angle around the body (0 = front), so a logo turns out of
sight when the person does and a back print turns into it.
"""

from __future__ import annotations

import math

import numpy as np

from metabin_jax.data.synthetic import colours, people
from metabin_jax.data.synthetic.tube import Texture


def body_angle(u: np.ndarray, yaw: float) -> np.ndarray:
  """Angle around the body that is seen at `u`, radians in [-pi, pi]."""
  angle = np.arcsin(np.clip(u, -1, 1)) - yaw
  return (angle + math.pi) % (2 * math.pi) - math.pi


def torso_texture(person: people.Person, yaw: float, waist: float) -> Texture:
  """Upper garment: cloth, pattern, opening, collar, straps.

  Args:
    person: whose garment.
    yaw: radians, the body's turn in the picture.
    waist: where the waist lies on the tube, 0 (shoulder) to 1 (hem).
  """
  cloth = colours.to_linear(person.upper_colour)
  accent = colours.to_linear(person.accent_colour)
  inner = colours.to_linear(person.inner_colour)
  skin = colours.to_linear(person.skin)
  bag = colours.to_linear(person.bag_colour)

  def texture(u, t):
    angle = body_angle(u, yaw)
    front = np.abs(angle)
    weight = _pattern(person, angle, t / waist)
    rgb = _mix(cloth, accent, weight[..., None])
    if person.upper == "open jacket":
      opening = _band(front, 0.0, 0.42 - 0.12 * t)
      rgb = _mix(rgb, inner, opening[..., None])
    elif person.upper in ("jacket", "coat", "hoodie"):
      zip_line = _band(front, 0.0, 0.07) * 0.45
      rgb = rgb * (1 - zip_line[..., None])
    elif person.upper == "shirt":
      placket = _band(front, 0.0, 0.09) * 0.2
      rgb = rgb * (1 - placket[..., None])
    elif person.upper in ("t-shirt", "tank top", "dress"):
      neckline = (t < 0.10 - 0.10 * front) * (front < 1.0)
      rgb = _mix(rgb, skin, neckline[..., None].astype(np.float32))
    if person.upper in ("coat", "dress"):
      belt = _band(t, waist - 0.02, waist + 0.02, 0.01) * 0.5
      rgb = rgb * (1 - belt[..., None])
    elif person.upper in ("sweater", "hoodie", "jacket"):
      rib = _band(t, 0.93, 1.2, 0.01) * 0.25
      rgb = rgb * (1 - rib[..., None])
    strap = _straps(person, angle, t / waist)
    return _mix(rgb, bag, strap[..., None]) if strap is not None else rgb

  return texture


def sleeve_texture(person: people.Person, near: float, far: float) -> Texture:
  """One half of an arm: sleeve down to its length, skin beyond.

  Args:
    person: whose arm.
    near: place of t = 0 on the arm, 0 (shoulder) to 1 (wrist).
    far: place of t = 1.
  """
  cloth = colours.to_linear(person.upper_colour)
  accent = colours.to_linear(person.accent_colour)
  skin = colours.to_linear(person.skin)

  def texture(u, t):
    place = near + (far - near) * t
    if person.pattern in ("stripes", "checks"):
      weight = _pattern(person, u * 0.8, place * 0.95)
    elif person.pattern == "sleeves":
      weight = np.ones_like(t)
    elif person.pattern == "yoke":
      weight = (place < 0.3).astype(np.float32)
    else:
      weight = np.zeros_like(t)
    rgb = _mix(cloth, accent, weight[..., None])
    bare = np.clip((place - person.sleeve) * 30, 0, 1)
    return _mix(rgb, skin, bare[..., None])

  return texture


def leg_texture(person: people.Person, near: float, far: float) -> Texture:
  """One half of a leg; `near` and `far` run from 0 (hip) to 1 (ankle)."""
  cloth = colours.to_linear(person.lower_colour)
  accent = colours.to_linear(person.accent_colour)
  skin = colours.to_linear(person.skin)
  sock = colours.to_linear(person.sock_colour)
  covered = {"trousers": 1.1, "slim": 0.96, "shorts": 0.46}.get(
    person.lower, 0.0
  )

  def texture(u, t):
    place = near + (far - near) * t
    rgb = np.broadcast_to(cloth, (*t.shape, 3))
    if person.leg_mark == "side stripe":
      rgb = _mix(rgb, accent, (np.abs(u) > 0.72)[..., None])
    elif person.leg_mark == "knee patch":
      rgb = rgb * (1 - 0.35 * _band(place, 0.42, 0.58)[..., None])
    bare = np.clip((place - covered) * 30, 0, 1)
    rgb = _mix(rgb, skin, bare[..., None])
    ankle_sock = bare * (place > 0.9)
    return _mix(rgb, sock, ankle_sock[..., None])

  return texture


def skirt_texture(person: people.Person, yaw: float) -> Texture:
  """A skirt with soft pleats."""
  cloth = colours.to_linear(person.lower_colour)

  def texture(u, t):
    pleats = 1 + 0.12 * t * np.sin(9 * body_angle(u, yaw))
    return cloth * pleats[..., None]

  return texture


def head_texture(person: people.Person, yaw: float) -> Texture:
  """Face, ears' side, beard and cropped hair; t runs from crown to chin."""
  skin = colours.to_linear(person.skin)
  hair = colours.to_linear(person.hair_colour)

  def texture(u, t):
    front = np.abs(body_angle(u, yaw))
    rgb = np.broadcast_to(skin, (*t.shape, 3))
    eyes = _band(front, 0.22, 0.62, 0.1) * _band(t, 0.40, 0.50, 0.05)
    mouth = _band(front, 0.0, 0.3, 0.1) * _band(t, 0.78, 0.84, 0.04)
    rgb = rgb * (1 - 0.55 * eyes - 0.3 * mouth)[..., None]
    if person.beard:
      beard = _band(front, -1, 1.3, 0.2) * _band(t, 0.70, 2.0, 0.05)
      rgb = _mix(rgb, hair, 0.8 * beard[..., None])
    if person.hair == "cropped":
      rgb = _mix(rgb, hair, 0.8 * _scalp(front, t)[..., None])
    return rgb

  return texture


def hair_texture(person: people.Person, yaw: float) -> Texture:
  """Hair or headwear around the head, open at the face."""
  worn = person.hair in ("cap", "beanie")
  colour = person.headwear_colour if worn else person.hair_colour
  rgb = colours.to_linear(colour)
  rgb = np.maximum(rgb, 0.012)

  def texture(u, t):
    front = np.abs(body_angle(u, yaw))
    if person.hair == "beanie":
      opacity = _band(t, -1, 0.42, 0.04)
    elif person.hair == "cap":
      opacity = _band(t, -1, 0.36, 0.04)
    else:
      opacity = _scalp(front, t)
    streaks = 1 + 0.22 * np.sin(14 * u + 3 * t)
    return rgb * streaks[..., None], opacity.astype(np.float32)

  return texture


def _scalp(front: np.ndarray, t: np.ndarray) -> np.ndarray:
  # The hairline rises over the face and falls towards the nape.
  line = np.where(front < 1.15, 0.27, 0.27 + 0.5 * (front - 1.15))
  return np.clip((np.minimum(line, 0.86) - t) * 14 + 0.5, 0, 1)


def _pattern(person: people.Person, angle, t) -> np.ndarray:
  """Share of the accent colour, 0..1, at an angle and a height."""
  count = person.pattern_count
  kind = person.pattern
  if kind == "stripes":
    return _wave(t * count)
  if kind == "pinstripes":
    return 0.8 * _wave(angle * (count + 4) / math.pi, 0.55)
  if kind == "checks":
    return 0.5 * _wave(t * count) + 0.5 * _wave(angle * count / 2.6)
  if kind == "logo":
    return _band(np.abs(angle), -1, 0.38) * _band(t, 0.28, 0.52, 0.03)
  if kind == "back print":
    return _band(math.pi - np.abs(angle), -1, 0.62) * _band(t, 0.2, 0.62, 0.03)
  if kind == "chest band":
    return _band(t, 0.30, 0.52, 0.02)
  if kind == "yoke":
    return _band(t, -1, 0.34, 0.02)
  if kind == "dots":
    spots = np.sin(angle * count) * np.sin(t * math.pi * count)
    return np.clip((np.abs(spots) - 0.62) * 8, 0, 1)
  return np.zeros_like(t)


def _straps(person: people.Person, angle, t) -> np.ndarray | None:
  """Share of the bag's colour on the torso."""
  if person.bag == "backpack":
    front = np.abs(angle)
    return _band(front, 0.52, 0.80, 0.05) * _band(t, -1, 0.62, 0.02)
  if person.bag == "shoulder bag":
    # From the far shoulder down to the near hip, in front and behind.
    line = 0.5 + 0.5 * person.bag_side * np.sin(angle)
    return _band(np.abs(t - line), -1, 0.05, 0.02)
  return None


def _mix(a, b, weight):
  return a + (b - a) * weight


def _band(x, low: float, high, edge: float = 0.03):
  """1 between `low` and `high`, falling to 0 over `edge` on both sides."""
  return np.clip((x - low) / edge + 0.5, 0, 1) * np.clip(
    (high - x) / edge + 0.5, 0, 1
  )


def _wave(x, duty: float = 0.0):
  """A square wave of period 1 with softened edges; `duty` narrows it."""
  return np.clip((np.sin(2 * math.pi * x) - duty) * 2.5 + 0.5, 0, 1)
