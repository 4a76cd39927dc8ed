"""Draws one person: body parts as shaded tubes, far ones first."""

from __future__ import annotations

import math

import numpy as np

from metabin_jax.data.synthetic import (
  bags,
  colours,
  garments,
  head,
  parts,
  people,
  pose,
  tube,
)


def draw_figure(
  layer: tube.Layer, person: people.Person, view: pose.View
) -> None:
  """Draws the person onto the layer.

  Args:
    layer: changed in place.
    person: whose picture.
    view: pose and camera.
  """
  joints = pose.place_joints(person, view)
  screen = {name: view.project(point) for name, point in joints.items()}
  found: list[parts.Part] = []
  _add_legs(found, layer, person, view, screen)
  _add_torso(found, layer, person, view, joints, screen)
  _add_arms(found, layer, person, view, screen)
  head.add_head(found, layer, person, view, joints, screen)
  bags.add_bag(found, layer, person, view, joints, screen)
  for _, draw in sorted(found, key=lambda part: part[0]):
    draw()


def _add_legs(found, layer, person, view, screen) -> None:
  girth = person.girth * view.scale
  loose = {"trousers": 1.12, "slim": 0.95, "shorts": 1.0}.get(person.lower, 0.9)
  shoe = colours.to_linear(person.shoe_colour)
  knee_width = 0.036 if person.lower != "shorts" else 0.040
  ankle_width = 0.034 if person.lower == "trousers" else 0.022
  for side in "01":
    hip, knee = screen["hip" + side], screen["knee" + side]
    ankle, toe = screen["ankle" + side], screen["toe" + side]
    depth = (hip[2] + knee[2] + ankle[2]) / 3 - view.pitch * 0.2
    # The leg behind stands in the shade of the one in front.
    shade = 0.72 if depth < -0.02 else 1.0

    def draw(
      hip=hip, knee=knee, ankle=ankle, toe=toe, shade=shade, side=side
    ) -> None:
      heel = (ankle[0], ankle[1] + 0.012 * view.scale)
      foot = 0.02 * view.scale
      tube.draw_tube(
        layer, heel, toe[:2], [foot * 1.1, foot, foot * 0.75], shoe, shade=shade
      )
      tube.draw_tube(
        layer,
        knee[:2],
        ankle[:2],
        [knee_width * loose * girth, 0.037 * girth, ankle_width * girth],
        garments.leg_texture(person, 0.5, 1.0),
        crease=0.07,
        crease_phase=view.phase + int(side),
        shade=shade,
      )
      tube.draw_tube(
        layer,
        hip[:2],
        knee[:2],
        [0.050 * loose * girth, 0.048 * loose * girth, 0.038 * loose * girth],
        garments.leg_texture(person, 0.0, 0.5),
        crease=0.05,
        crease_phase=view.phase + 2 + int(side),
        shade=shade,
        contact=0.12,
      )

    found.append((parts.rank_by_depth(parts.LEGS, depth), draw))
  if person.lower in ("skirt", "long skirt"):
    found.append(
      (parts.SKIRT, lambda: _draw_skirt(layer, person, view, screen))
    )


def _draw_skirt(layer, person, view, screen) -> None:
  knee_x = (screen["knee0"][0] + screen["knee1"][0]) / 2
  knee_y = (screen["knee0"][1] + screen["knee1"][1]) / 2
  pelvis = screen["pelvis"]
  drop = 1.02 if person.lower == "skirt" else 1.6
  hem = (
    pelvis[0] + (knee_x - pelvis[0]) * drop,
    pelvis[1] + (knee_y - pelvis[1]) * drop,
  )
  hip = parts.half_width(view, person.hip, 0.075) * person.girth
  stride = abs(screen["knee0"][0] - screen["knee1"][0]) / 2
  tube.draw_tube(
    layer,
    (pelvis[0], pelvis[1] - 0.05 * view.scale),
    hem,
    [
      hip * 0.9,
      hip * 1.08,
      hip * 1.15 + 0.5 * stride,
      hip * 1.2 + 0.8 * stride,
    ],
    garments.skirt_texture(person, view.yaw),
    round_ends=False,
    crease=0.04,
  )


def _add_torso(found, layer, person, view, joints, screen) -> None:
  girth = person.girth
  top = joints["neck"] - [0, 0.012, 0]
  length = joints["neck"][1] - joints["pelvis"][1]
  hem = joints["pelvis"] - [0, 0.035 + person.hem, 0]
  start, end = view.project(top), view.project(hem)
  waist = length / (top[1] - hem[1]) * 0.78
  loose = 1.10 if person.upper in ("coat", "jacket", "hoodie") else 1.0
  flare = 1.25 if person.upper == "dress" else 1.06
  # (across, deep) half axes from the collar to the hem.
  outline = [
    (0.046, 0.045),
    (person.shoulder * 0.80, 0.056),
    (person.shoulder * 1.02, 0.066),
    (person.shoulder * 1.02, 0.082 * loose),
    (person.shoulder * 0.93 * loose, 0.086 * loose * girth),
    (0.088 * girth * loose, 0.080 * loose * girth),
    (0.084 * girth * loose, 0.080 * loose * girth),
    (person.hip * girth * loose, 0.084 * loose * girth),
    (person.hip * girth * loose * flare, 0.086 * loose * girth * flare),
  ]
  places = [0.0, 0.045, 0.10, 0.2, 0.42, 0.66, 0.78, 1.0, None]
  at = [p * waist / 0.78 if p is not None else 1.0 for p in places]
  steps = np.linspace(0, 1, 32)
  widths = np.interp(
    steps, at, [parts.half_width(view, a, b) for a, b in outline]
  )

  def draw() -> None:
    tube.draw_tube(
      layer,
      start[:2],
      end[:2],
      widths,
      garments.torso_texture(person, view.yaw, min(1.0, waist)),
      round_ends=False,
      crease=0.06,
      crease_phase=view.phase * 0.5,
      contact=0.3,
    )
    if person.hood and view.facing(math.pi) > -0.3:
      back = view.project(joints["neck"] + [0, -0.02, -0.05])
      cloth = colours.to_linear(person.upper_colour) * 0.85
      size = 0.052 * view.scale
      tube.draw_tube(
        layer,
        (back[0], back[1] - 0.3 * size),
        (back[0], back[1] + 0.9 * size),
        [size, size * 0.6],
        cloth,
        contact=0.3,
      )

  def draw_neck() -> None:
    skin = colours.to_linear(person.skin)
    chin, neck = screen["chin"], screen["neck"]
    tube.draw_tube(
      layer,
      (chin[0], chin[1] - 0.02 * view.scale),
      (neck[0], neck[1] + 0.03 * view.scale),
      np.array([0.034, 0.038]) * view.scale,
      skin,
      shade=0.75,
    )

  found.append((parts.NECK, draw_neck))
  found.append((parts.TORSO, draw))


def _add_arms(found, layer, person, view, screen) -> None:
  skin = colours.to_linear(person.skin)
  loose = 1.0 if person.upper in ("tank top", "t-shirt", "dress") else 1.18
  for side in "01":
    shoulder, elbow = screen["shoulder" + side], screen["elbow" + side]
    wrist, hand = screen["wrist" + side], screen["hand" + side]
    depth = (shoulder[2] + elbow[2]) / 2 - screen["neck"][2]
    depth += 0.4 * math.sin(view.pitch)
    far = depth < -0.045
    rank = parts.FAR_ARM if far else parts.NEAR_ARM

    def draw(
      shoulder=shoulder,
      elbow=elbow,
      wrist=wrist,
      hand=hand,
      shade=0.75 if far else 1.0,
      side=side,
    ) -> None:
      unit = view.scale * (0.6 + 0.4 * person.girth)
      tube.draw_tube(
        layer,
        wrist[:2],
        hand[:2],
        [0.016 * view.scale, 0.02 * view.scale],
        skin,
        shade=shade,
      )
      tube.draw_tube(
        layer,
        elbow[:2],
        wrist[:2],
        np.array([0.031 * loose, 0.029 * loose, 0.022 * loose]) * unit,
        garments.sleeve_texture(person, 0.52, 1.0),
        crease=0.06,
        crease_phase=int(side),
        shade=shade,
        contact=0.3,
      )
      tube.draw_tube(
        layer,
        shoulder[:2],
        elbow[:2],
        np.array([0.034 * loose, 0.035 * loose, 0.030 * loose]) * unit,
        garments.sleeve_texture(person, 0.0, 0.52),
        crease=0.06,
        crease_phase=2 + int(side),
        shade=shade,
        contact=0.2,
      )

    found.append((parts.rank_by_depth(rank, depth), draw))
