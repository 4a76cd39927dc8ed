"""Walls and floors of the background scenes, drawn with Pillow."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw


@dataclasses.dataclass(slots=True)
class Stage:
  """A background while it is drawn.

  Attributes:
    draw: Pillow's pen on an RGB picture.
    width: pixels.
    height: pixels.
    line: row where the wall meets the floor.
    vanish: (column, row) where the floor's lines meet; above `line`.
    rng: the camera's random numbers.
  """

  draw: ImageDraw.ImageDraw
  width: int
  height: int
  line: int
  vanish: tuple[float, float]
  rng: np.random.Generator

  def tone(self, colour, spread: float = 10.0) -> tuple[int, int, int]:
    """The colour with the random lightness of one object."""
    shift = self.rng.normal(0, spread)
    red, green, blue = (int(np.clip(c + shift, 4, 250)) for c in colour)
    return red, green, blue


def scale(colour, factor: float) -> tuple[int, int, int]:
  """The colour made darker or lighter."""
  red, green, blue = (int(np.clip(c * factor, 0, 255)) for c in colour)
  return red, green, blue


def value_noise(rng, height: int, width: int, cell: int) -> np.ndarray:
  """Smooth noise [H, W] with zero mean and about unit spread."""
  grid = rng.normal(size=(height // cell + 3, width // cell + 3))
  image = Image.fromarray(grid.astype(np.float32))
  big = image.resize(
    ((width // cell + 3) * cell, (height // cell + 3) * cell),
    Image.Resampling.BICUBIC,
  )
  return np.asarray(big)[cell : cell + height, cell : cell + width] * 1.4


def draw_wall(stage: Stage, kind: str, colour) -> None:
  """Fills the picture above the floor line."""
  draw, rng, line, width = stage.draw, stage.rng, stage.line, stage.width
  base = stage.tone(colour, 8)
  for y in range(0, line, 4):
    draw.rectangle(
      (0, y, width, y + 4), fill=scale(base, 0.9 + 0.15 * y / line)
    )
  if kind == "glass":
    step = int(rng.integers(44, 80))
    for x in range(-int(rng.integers(step)), width, step):
      pane = stage.tone(base, 16)
      draw.rectangle((x, 0, x + step, line - 6), fill=pane)
      draw.polygon(
        [(x + 8, 0), (x + 26, 0), (x + step - 8, line), (x + step - 30, line)],
        fill=scale(pane, 1.1),
      )
      draw.line((x, 0, x, line), fill=scale(base, 0.45), width=4)
    for y in range(int(rng.integers(20, 60)), line, 90):
      draw.line((0, y, width, y), fill=scale(base, 0.5), width=3)
  elif kind == "tiles":
    step = int(rng.integers(14, 26))
    seam = scale(base, 0.84)
    for y in range(0, line, step):
      draw.line((0, y, width, y), fill=seam)
    for x in range(0, width, int(step * 1.6)):
      draw.line((x, 0, x, line), fill=seam)
  elif kind == "brick":
    for row, y in enumerate(range(0, line, 9)):
      for x in range(-(row % 2) * 11, width, 22):
        draw.rectangle((x + 1, y + 1, x + 20, y + 7), fill=stage.tone(base, 7))
  elif kind == "panels":
    step = int(rng.integers(60, 120))
    for x in range(int(rng.integers(step)), width, step):
      draw.line((x, 0, x, line), fill=scale(base, 0.7), width=2)
    low = int(line - rng.integers(40, 80))
    draw.rectangle((0, low, width, line), fill=scale(base, 0.75))
  elif kind == "corrugated":
    for x in range(0, width, 8):
      draw.line((x, 0, x, line), fill=scale(base, 0.85), width=3)
  elif kind == "facade":
    step_x, step_y = int(rng.integers(46, 70)), int(rng.integers(56, 84))
    for x in range(int(rng.integers(20)), width, step_x):
      for y in range(-int(rng.integers(30)), line - 30, step_y):
        pane = stage.tone((70, 84, 98), 20)
        if rng.random() < 0.25:
          pane = stage.tone((190, 180, 150), 20)
        box = (x, y, x + step_x // 2, y + step_y // 2)
        draw.rectangle(box, fill=pane, outline=scale(base, 0.7))
  elif kind == "shops":
    step = int(rng.integers(110, 170))
    for x in range(-int(rng.integers(step)), width, step):
      sign = stage.tone(
        [(150, 60, 50), (60, 90, 130), (200, 190, 170), (70, 110, 80)][
          int(rng.integers(4))
        ]
      )
      top = line - 150
      draw.rectangle((x + 4, top, x + step - 4, top + 26), fill=sign)
      draw.rectangle(
        (x + 8, top + 32, x + step - 8, line - 12),
        fill=stage.tone((84, 88, 90), 18),
      )
      for _ in range(7):
        a = x + 12 + int(rng.integers(max(step - 50, 1)))
        b = line - 20 - int(rng.integers(90))
        draw.rectangle(
          (a, b, a + int(rng.integers(8, 26)), b + int(rng.integers(10, 34))),
          fill=stage.tone((130, 118, 104), 40),
        )
  elif kind == "greenery":
    sky = stage.tone((176, 190, 204), 6)
    draw.rectangle((0, 0, width, line // 2), fill=sky)
    for _ in range(170):
      x_leaf = rng.uniform(-20, width)
      y_leaf = line - rng.gamma(2.2, line * 0.16)
      wide = rng.uniform(10, 34)
      high = 0.8 * wide
      draw.ellipse(
        (x_leaf - wide, y_leaf - high, x_leaf + wide, y_leaf + high),
        fill=stage.tone(base, 16),
      )
  elif kind == "shelves":
    draw.rectangle((0, 0, width, line), fill=stage.tone((62, 62, 60), 6))
    step_x, step_y = int(rng.integers(90, 130)), int(rng.integers(62, 84))
    for x in range(-int(rng.integers(step_x)), width, step_x):
      for y in range(line - step_y, -step_y, -step_y):
        at = x + 6
        while at < x + step_x - 14:
          wide, high = int(rng.integers(14, 40)), int(rng.integers(18, 52))
          crate = [(150, 118, 78), (128, 100, 70), (96, 104, 112)]
          draw.rectangle(
            (at, y + step_y - high, min(at + wide, x + step_x - 4), y + step_y),
            fill=stage.tone(crate[int(rng.integers(3))], 16),
          )
          at += wide + 3
        draw.rectangle((x, y + step_y - 5, x + step_x, y + step_y), fill=base)
      draw.rectangle((x - 3, 0, x + 3, line), fill=scale(base, 0.8))


def draw_floor(stage: Stage, kind: str, colour) -> None:
  """Fills the picture below the floor line, in perspective."""
  draw, line, height, width = stage.draw, stage.line, stage.height, stage.width
  base = stage.tone(colour, 8)
  for y in range(line, height, 3):
    near = (y - line) / max(height - line, 1)
    draw.rectangle((0, y, width, y + 3), fill=scale(base, 0.86 + 0.16 * near))
  if kind in ("tile", "paving"):
    seam = scale(base, 0.72 if kind == "paving" else 0.82)
    for y in _receding_rows(stage, 0.16 if kind == "tile" else 0.11):
      draw.line((0, y, width, y), fill=seam, width=1 + (y > height - 50))
    _receding_columns(stage, 46 if kind == "tile" else 30, seam)
  elif kind == "lanes":
    paint = stage.tone((196, 192, 176), 8)
    _receding_columns(stage, int(stage.rng.integers(170, 240)), paint, 6)
  elif kind == "platform":
    edge = line + int(stage.rng.integers(12, 40))
    draw.rectangle((0, edge, width, edge + 9), fill=stage.tone((204, 168, 50)))
    for y in _receding_rows(stage, 0.2):
      draw.line((0, y, width, y), fill=scale(base, 0.82))
  elif kind == "path":
    verge = line + int(stage.rng.integers(10, 60))
    draw.rectangle((0, line, width, verge), fill=stage.tone((88, 112, 56), 8))
    draw.line((0, verge, width, verge), fill=scale(base, 1.15), width=4)
  elif kind == "road":
    kerb = line + int(stage.rng.integers(14, 50))
    draw.rectangle((0, line, width, kerb), fill=scale(base, 1.35))
    draw.line((0, kerb, width, kerb), fill=scale(base, 1.7), width=3)


def _receding_rows(stage: Stage, step: float) -> list[int]:
  """Rows of equally spaced cross lines on the floor."""
  top = stage.vanish[1]
  reach = stage.height - top
  rows: list[int] = []
  distance = 1.0
  while True:
    y = top + reach / distance
    if y <= stage.line or len(rows) > 60:
      return rows
    rows.append(int(y))
    distance += step


def _receding_columns(stage: Stage, step: int, colour, pen: int = 1) -> None:
  """Lines that run away from the camera."""
  vanish_x, vanish_y = stage.vanish
  share = (stage.line - vanish_y) / (stage.height - vanish_y)
  for x in range(-3 * stage.width, 4 * stage.width, step):
    far = vanish_x + (x - vanish_x) * share
    stage.draw.line((far, stage.line, x, stage.height), fill=colour, width=pen)
