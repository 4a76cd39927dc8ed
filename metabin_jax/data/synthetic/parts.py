"""How the parts of a figure are ordered: ranks of depth, far ones first."""

from __future__ import annotations

import math
from collections.abc import Callable

from metabin_jax.data.synthetic import pose

# A part's depth in body heights (below 1) is added inside a rank.
FAR_BAG, FAR_ARM, LEGS, SKIRT, NECK, TORSO, HEAD, NEAR_BAG, NEAR_ARM = range(9)

# Rank and the call that draws the part.
Part = tuple[float, Callable[[], None]]


def rank_by_depth(rank: int, depth: float) -> float:
  """Orders parts of one rank by their depth in body heights."""
  return rank + min(max(0.45 + depth, 0.0), 0.9)


def half_width(view: pose.View, across: float, deep: float) -> float:
  """Half width in pixels of a body ellipse seen from the view's side.

  Args:
    view: pose and camera.
    across: half axis from hand to hand, body heights.
    deep: half axis from chest to back, body heights.
  """
  return view.scale * math.hypot(
    across * math.cos(view.yaw), deep * math.sin(view.yaw)
  )
