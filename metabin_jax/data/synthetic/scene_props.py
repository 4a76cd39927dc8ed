"""Things that stand about in the background scenes."""

from __future__ import annotations

from metabin_jax.data.synthetic.scene_surfaces import Stage, scale


def draw_prop(stage: Stage, kind: str) -> None:
  """Draws one object at a random place on or before the wall.

  Args:
    stage: the scene.
    kind: a key of `PROPS`.
  """
  x = int(stage.rng.uniform(0, stage.width))
  PROPS[kind](stage, x)


def _pillar(stage: Stage, x: int) -> None:
  wide = int(stage.rng.integers(22, 44))
  foot = stage.line + int(stage.rng.integers(6, 40))
  colour = stage.tone((158, 156, 150), 14)
  for i in range(wide):
    round_shade = 1.05 - 0.5 * abs(i / wide - 0.35)
    stage.draw.line((x + i, 0, x + i, foot), fill=scale(colour, round_shade))
  if stage.rng.random() < 0.4:
    band = scale((196, 160, 40), 0.9)
    stage.draw.rectangle((x, foot - 60, x + wide, foot - 40), fill=band)


def _railing(stage: Stage, x: int) -> None:
  top = stage.line - int(stage.rng.integers(30, 60))
  foot = stage.line + int(stage.rng.integers(0, 16))
  colour = stage.tone((96, 100, 104), 24)
  reach = int(stage.rng.integers(160, 360))
  for post in range(x, x + reach, 12):
    stage.draw.line((post, top, post, foot), fill=scale(colour, 0.9), width=2)
  stage.draw.line((x, top, x + reach, top), fill=colour, width=5)
  stage.draw.line((x, foot - 6, x + reach, foot - 6), fill=colour, width=2)


def _plant(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(4, 30))
  stage.draw.polygon(
    [(x - 16, foot - 30), (x + 16, foot - 30), (x + 11, foot), (x - 11, foot)],
    fill=stage.tone((130, 100, 84)),
  )
  for _ in range(26):
    a, b = stage.rng.normal(0, 17), abs(stage.rng.normal(0, 26))
    leaf = stage.tone((52, 88, 46), 14)
    stage.draw.ellipse(
      (x + a - 7, foot - 34 - b - 9, x + a + 7, foot - 34 - b + 9), fill=leaf
    )


def _car(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(14, 46))
  size = stage.rng.uniform(0.8, 1.15)
  paints = [
    (190, 190, 192),
    (40, 42, 46),
    (120, 30, 34),
    (44, 62, 100),
    (220, 220, 216),
  ]
  paint = stage.tone(paints[int(stage.rng.integers(len(paints)))], 8)

  def at(a: float, b: float) -> tuple[float, float]:
    return (x + a * size, foot - b * size)

  draw = stage.draw
  draw.ellipse((*at(-8, 8), *at(218, -10)), fill=scale((70, 70, 70), 0.6))
  draw.polygon(
    [
      at(0, 14),
      at(2, 44),
      at(36, 52),
      at(64, 84),
      at(146, 84),
      at(178, 52),
      at(208, 44),
      at(210, 14),
    ],
    fill=paint,
  )
  glass = (52, 60, 68)
  draw.polygon([at(46, 54), at(68, 78), at(100, 78), at(100, 54)], fill=glass)
  draw.polygon([at(106, 54), at(106, 78), at(142, 78), at(166, 54)], fill=glass)
  draw.rectangle((*at(0, 30), *at(210, 26)), fill=scale(paint, 0.75))
  for wheel in (44, 164):
    draw.ellipse((*at(wheel - 19, 36), *at(wheel + 19, -2)), fill=(26, 26, 28))
    draw.ellipse((*at(wheel - 9, 26), *at(wheel + 9, 8)), fill=(130, 130, 132))


def _bench(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(16, 50))
  wood = stage.tone((124, 92, 62), 14)
  for row in (52, 42, 30):
    stage.draw.rectangle((x, foot - row, x + 104, foot - row + 6), fill=wood)
  for leg in (10, 88):
    stage.draw.rectangle(
      (x + leg, foot - 46, x + leg + 5, foot), fill=(58, 58, 60)
    )


def _tree(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(2, 30))
  bark = stage.tone((86, 68, 52), 8)
  stage.draw.polygon(
    [(x - 9, foot), (x - 6, 0), (x + 6, 0), (x + 10, foot)], fill=bark
  )
  for _ in range(40):
    a, b = stage.rng.normal(0, 42), abs(stage.rng.normal(0, 46))
    leaf = stage.tone((64, 92, 44), 16)
    stage.draw.ellipse((x + a - 15, b - 28, x + a + 15, b), fill=leaf)


def _bare_tree(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(2, 24))
  bark = stage.tone((74, 66, 60), 8)
  stage.draw.line((x, foot, x, 0), fill=bark, width=11)
  for _ in range(14):
    y = stage.rng.uniform(0, foot * 0.6)
    a = stage.rng.choice([-1, 1]) * stage.rng.uniform(30, 90)
    stage.draw.line((x, y, x + a, y - abs(a) * 0.8), fill=bark, width=3)


def _lamp(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(4, 30))
  stage.draw.line((x, 10, x, foot), fill=stage.tone((62, 64, 66)), width=7)
  stage.draw.ellipse((x - 14, 4, x + 14, 30), fill=(250, 246, 226))


def _lit_window(stage: Stage, x: int) -> None:
  y = int(stage.rng.uniform(0, max(stage.line - 80, 10)))
  glow = stage.tone((250, 236, 190), 8)
  stage.draw.rectangle((x, y, x + 38, y + 52), fill=glow)
  stage.draw.line((x + 19, y, x + 19, y + 52), fill=scale(glow, 0.5), width=2)


def _door(stage: Stage, x: int) -> None:
  colour = stage.tone((120, 104, 88), 26)
  top = stage.line - 190
  stage.draw.rectangle(
    (x, top, x + 84, stage.line),
    fill=colour,
    outline=scale(colour, 0.6),
    width=4,
  )
  stage.draw.rectangle(
    (x + 52, top + 30, x + 70, top + 110), fill=scale(colour, 1.3)
  )
  stage.draw.ellipse(
    (x + 8, top + 96, x + 16, top + 104), fill=scale(colour, 0.4)
  )


def _poster(stage: Stage, x: int) -> None:
  top = stage.line - int(stage.rng.integers(120, 190))
  papers = [(206, 200, 184), (170, 66, 60), (64, 98, 140), (210, 182, 90)]
  paper = stage.tone(papers[int(stage.rng.integers(4))])
  stage.draw.rectangle(
    (x, top, x + 56, top + 78), fill=paper, outline=(60, 60, 62), width=3
  )
  for row in range(4):
    y = top + 40 + 9 * row
    stage.draw.line((x + 9, y, x + 46, y), fill=scale(paper, 0.6), width=3)


def _train(stage: Stage, x: int) -> None:
  del x
  body = stage.tone((176, 180, 184), 8)
  stripes = [(170, 40, 44), (40, 80, 150), (40, 120, 80)]
  stripe = stage.tone(stripes[int(stage.rng.integers(3))])
  top = max(0, stage.line - 200)
  stage.draw.rectangle((0, top, stage.width, stage.line - 4), fill=body)
  stage.draw.rectangle(
    (0, stage.line - 70, stage.width, stage.line - 52), fill=stripe
  )
  for left in range(int(stage.rng.integers(60)), stage.width, 130):
    stage.draw.rectangle(
      (left, top + 40, left + 74, stage.line - 84), fill=(58, 66, 74)
    )
    stage.draw.line(
      (left + 98, top + 20, left + 98, stage.line - 4),
      fill=scale(body, 0.5),
      width=3,
    )


def _fence(stage: Stage, x: int) -> None:
  del x
  top, colour = stage.line - 70, stage.tone((104, 96, 88), 12)
  for post in range(0, stage.width, 16):
    stage.draw.rectangle((post, top, post + 8, stage.line + 4), fill=colour)
  stage.draw.rectangle((0, top + 14, stage.width, top + 20), fill=colour)


def _drift(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(0, 26))
  wide = int(stage.rng.integers(90, 200))
  high = int(stage.rng.integers(16, 38))
  white = stage.tone((236, 238, 242), 5)
  stage.draw.ellipse((x, foot - high, x + wide, foot + high), fill=white)
  stage.draw.ellipse(
    (x + 8, foot, x + wide, foot + high), fill=scale(white, 0.92)
  )


def _boxes(stage: Stage, x: int) -> None:
  foot = stage.line + int(stage.rng.integers(10, 50))
  for row in range(int(stage.rng.integers(1, 4))):
    for column in range(2):
      card = stage.tone((158, 124, 84), 12)
      a, b = x + 44 * column, foot - 38 * row
      stage.draw.rectangle(
        (a, b - 36, a + 42, b), fill=card, outline=scale(card, 0.7)
      )
      stage.draw.line((a, b - 18, a + 42, b - 18), fill=scale(card, 1.15))


def _people(stage: Stage, x: int) -> None:
  """Passers-by far off: the height of a fifth of the picture."""
  foot = stage.line + int(stage.rng.integers(6, 34))
  tall = stage.rng.uniform(58, 96)
  coats = [(36, 38, 46), (90, 92, 98), (120, 40, 44), (60, 84, 120)]
  coat = stage.tone(coats[int(stage.rng.integers(4))])
  legs = stage.tone((44, 48, 62), 12)
  draw = stage.draw
  for side in (-1, 1):
    draw.polygon(
      [
        (x + side * tall * 0.01, foot - tall * 0.5),
        (x + side * tall * 0.09, foot - tall * 0.5),
        (x + side * tall * 0.10, foot),
        (x + side * tall * 0.04, foot),
      ],
      fill=legs,
    )
  draw.rounded_rectangle(
    (x - tall * 0.13, foot - tall * 0.86, x + tall * 0.13, foot - tall * 0.44),
    radius=tall * 0.07,
    fill=coat,
  )
  draw.ellipse(
    (x - tall * 0.06, foot - tall, x + tall * 0.06, foot - tall * 0.86),
    fill=stage.tone((150, 112, 90), 24),
  )


PROPS = {
  "pillar": _pillar,
  "railing": _railing,
  "plant": _plant,
  "car": _car,
  "bench": _bench,
  "tree": _tree,
  "bare tree": _bare_tree,
  "lamp": _lamp,
  "lit window": _lit_window,
  "door": _door,
  "poster": _poster,
  "train": _train,
  "fence": _fence,
  "drift": _drift,
  "boxes": _boxes,
  "people": _people,
}
