"""Draws the head: face, hair, cap, and what hangs down behind."""

from __future__ import annotations

import math

import numpy as np

from metabin_jax.data.synthetic import colours, garments, parts, tube


def add_head(found, layer, person, view, joints, screen) -> None:
  """Appends the head's parts to the list that `draw_figure` sorts.

  Args:
    found: list of `parts.Part`, extended in place.
    layer: to draw on.
    person: whose head.
    view: pose and camera.
    joints: see `pose.place_joints`.
    screen: the joints, projected.
  """
  crown, chin = screen["crown"], screen["chin"]
  size = person.head * view.scale * person.height
  across = 0.052 * size
  deep = 0.062 * size
  width = math.hypot(across * math.cos(view.yaw), deep * math.sin(view.yaw))
  middle = np.array([(crown[0] + chin[0]) / 2, (crown[1] + chin[1]) / 2])
  up = np.array(crown[:2]) - np.array(chin[:2])
  # An egg: round at the crown, narrower at the chin.
  steps = np.linspace(0, 1, 25)
  egg = np.sqrt(np.maximum(1 - (2 * steps - 1) ** 2, 0)) * (1.06 - 0.2 * steps)
  egg[steps > 0.5] **= 0.85
  top, bottom = middle + up * 0.5, middle - up * 0.53
  hair = np.maximum(colours.to_linear(person.hair_colour), 0.012)

  def draw() -> None:
    tube.draw_tube(
      layer,
      tuple(top),
      tuple(bottom),
      egg * width,
      garments.head_texture(person, view.yaw),
      round_ends=False,
      contact=0.3,
    )
    if person.hair not in ("bald", "cropped"):
      puff = 1.08 if person.hair in ("short", "cap") else 1.16
      tube.draw_tube(
        layer,
        tuple(top + up * 0.05),
        tuple(bottom),
        egg * width * puff,
        garments.hair_texture(person, view.yaw),
        round_ends=False,
      )
    if person.hair == "cap" and view.facing(0.0) > -0.75:
      peak = view.project(
        (joints["crown"] + joints["chin"]) / 2 + [0, 0.022, 0.1]
      )
      tube.draw_tube(
        layer,
        (middle[0], middle[1] - 0.012 * size),
        peak[:2],
        [0.045 * size * abs(math.cos(view.yaw)) + 0.012 * size, 0.014 * size],
        colours.to_linear(person.headwear_colour) * 0.7,
      )

  found.append((parts.HEAD, draw))
  hanging = {"long": 0.17, "bob": 0.05, "ponytail": 0.15}.get(person.hair)
  if hanging is not None:
    root = (joints["crown"] + joints["chin"]) / 2 + [0, 0.005, -0.045]
    begin = view.project(root)
    finish = view.project(root - [0, 0.05 + hanging, 0.02])
    if person.hair == "ponytail":
      spread = [0.02 * size, 0.024 * size, 0.01 * size]
    else:
      spread = [width * 1.05, width * 1.12, width * 0.8]
    behind = view.facing(math.pi) < 0.15
    found.append(
      (
        parts.NECK - 0.5 if behind else parts.HEAD + 0.5,
        lambda: tube.draw_tube(
          layer, begin[:2], finish[:2], spread, hair, crease=0.1
        ),
      )
    )
  if person.hair == "bun":
    spot = view.project(joints["crown"] + [0, -0.015, -0.06])
    size_bun = 0.026 * size
    found.append(
      (
        parts.HEAD + (0.5 if view.facing(math.pi) > 0 else -0.5),
        lambda: tube.draw_tube(
          layer,
          spot[:2],
          (spot[0], spot[1] + 1),
          [size_bun, size_bun],
          hair,
        ),
      )
    )
