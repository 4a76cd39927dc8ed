"""Draws what people carry: backpack, shoulder bag, handbag."""

from __future__ import annotations

import math

import numpy as np

from metabin_jax.data.synthetic import colours, parts, tube


def add_bag(found, layer, person, view, joints, screen) -> None:
  """Appends the bag's parts; arguments as in `head.add_head`."""
  if person.bag == "none":
    return
  rgb = colours.to_linear(person.bag_colour)
  size = person.bag_size

  def texture(u, t):
    pocket = np.where((t > 0.5) & (np.abs(u) < 0.75), 0.82, 1.0)
    seam = np.where(np.abs(t - 0.28) < 0.03, 0.6, 1.0)
    return rgb * (pocket * seam)[..., None]

  rank: float
  if person.bag == "backpack":
    centre = (joints["neck"] + joints["pelvis"]) / 2
    centre += np.array([0, 0.045, -0.075 * person.girth - 0.045])
    half = np.array([0, 0.095 * size, 0])
    start = view.project(centre + half)
    end = view.project(centre - half * 1.15)
    width = parts.half_width(view, 0.082 * size, 0.055 * size)
    shape = np.array([0.72, 0.96, 1.0, 1.0, 0.92]) * width
    rank = parts.NEAR_BAG if view.facing(math.pi) > -0.1 else parts.FAR_BAG
    if rank == parts.NEAR_BAG and view.facing(math.pi) < 0.35:
      # From the side the near arm hides the straps, not the bag.
      rank = parts.NECK - 0.3
  elif person.bag == "shoulder bag":
    hip = joints["pelvis"] + np.array(
      [person.bag_side * (person.hip * person.girth + 0.035), 0.0, 0.0]
    )
    start = view.project(hip + np.array([0, 0.02, 0]))
    end = view.project(hip - np.array([0, 0.07 * size, 0]))
    width = parts.half_width(view, 0.035 * size, 0.085 * size)
    shape = np.array([0.95, 1.0, 1.0, 0.95]) * width
    near = view.facing(person.bag_side * math.pi / 2) > -0.2
    rank = parts.NEAR_BAG if near else parts.FAR_BAG
  else:
    side = "1" if person.bag_side > 0 else "0"
    hand = joints["hand" + side]
    start = view.project(hand - [0, 0.05, 0])
    end = view.project(hand - [0, 0.05 + 0.085 * size, 0])
    width = parts.half_width(view, 0.032 * size, 0.075 * size)
    shape = np.array([0.85, 1.0, 1.05]) * width
    near = view.facing(person.bag_side * math.pi / 2) > -0.35
    rank = parts.NEAR_BAG if near else parts.FAR_BAG
    grip = screen["hand" + side]
    handle = 0.007 * view.scale
    found.append(
      (
        rank - 0.01,
        lambda: tube.draw_tube(
          layer, grip[:2], start[:2], [handle, handle * 2.5], rgb * 0.8
        ),
      )
    )
  found.append(
    (
      rank,
      lambda: tube.draw_tube(
        layer, start[:2], end[:2], shape, texture, contact=0.3
      ),
    )
  )
