"""Who a person is: the attributes that all pictures of an identity share."""

from __future__ import annotations

import dataclasses

import numpy as np

from metabin_jax.data import seeding
from metabin_jax.data.synthetic import colours
from metabin_jax.data.synthetic.colours import Rgb

UPPERS = {
  # name: (weight, sleeve lengths 0..1 of the arm, length of the hem)
  "t-shirt": (16, (0.45,), 0.0),
  "tank top": (3, (0.0,), 0.0),
  "shirt": (14, (0.45, 1.0, 1.0), 0.01),
  "sweater": (14, (1.0,), 0.01),
  "hoodie": (12, (1.0,), 0.02),
  "jacket": (16, (1.0,), 0.02),
  "open jacket": (12, (1.0,), 0.03),
  "coat": (9, (1.0,), 0.17),
  "dress": (6, (0.0, 0.45, 1.0), 0.20),
}
PATTERNS = {
  "plain": 40,
  "logo": 12,
  "back print": 5,
  "stripes": 10,
  "pinstripes": 5,
  "checks": 9,
  "chest band": 8,
  "yoke": 8,
  "sleeves": 8,
  "dots": 4,
}
LOWERS = {"trousers": 50, "slim": 20, "shorts": 12, "skirt": 9, "long skirt": 4}
HAIRSTYLES = {
  "short": 36,
  "cropped": 14,
  "bald": 5,
  "bob": 12,
  "long": 15,
  "ponytail": 10,
  "bun": 5,
  "cap": 8,
  "beanie": 5,
}
BAG_KINDS = {"none": 45, "backpack": 22, "shoulder bag": 18, "handbag": 12}
LEG_MARKS = {"none": 84, "side stripe": 10, "knee patch": 6}


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
  """Everything that stays with an identity over cameras and views.

  Lengths are shares of the body height; colours are sRGB codes under neutral
  light. `*_name` is the palette entry that the code was drawn from.
  """

  height: float
  girth: float
  shoulder: float
  hip: float
  leg: float
  head: float
  skin: Rgb
  hair: str
  hair_colour: Rgb
  headwear_colour: Rgb
  beard: bool
  upper: str
  upper_name: str
  upper_colour: Rgb
  accent_name: str
  accent_colour: Rgb
  inner_colour: Rgb
  sleeve: float
  hem: float
  pattern: str
  pattern_count: int
  hood: bool
  lower: str
  lower_name: str
  lower_colour: Rgb
  leg_mark: str
  shoe_colour: Rgb
  sock_colour: Rgb
  bag: str
  bag_name: str
  bag_colour: Rgb
  bag_size: float
  bag_side: int
  stride: float


def create_person(seed: int, domain: int, pid: int) -> Person:
  """Draws identity number `pid` of a domain.

  Args:
    seed: the preset's seed.
    domain: index of the domain in `style.DOMAINS`; no two domains share an
      identity, since the domain is part of the random stream.
    pid: number of the identity inside its domain.

  Returns:
    The same person for the same arguments.
  """
  rng = seeding.generator(seed, "synthetic/person", domain, pid)

  def choose(weights: dict[str, int]) -> str:
    share = np.array(list(weights.values()), dtype=np.float64)
    return list(weights)[int(rng.choice(len(share), p=share / share.sum()))]

  curvy = bool(rng.random() < 0.5)
  upper = choose({name: spec[0] for name, spec in UPPERS.items()})
  sleeves, hem = UPPERS[upper][1:]
  upper_name, upper_colour = colours.draw_colour(rng, colours.CLOTHES)
  # An accent as dark as the cloth would hide the pattern.
  for _ in range(20):
    accent_name, accent_colour = colours.draw_colour(rng, colours.CLOTHES)
    if np.abs(np.subtract(accent_colour, upper_colour)).sum() > 150:
      break
  pattern = choose(PATTERNS)
  if upper in ("coat", "open jacket") and pattern in ("logo", "dots"):
    pattern = "plain"
  if upper == "shirt" and pattern == "plain" and rng.random() < 0.5:
    pattern = str(rng.choice(["checks", "pinstripes", "stripes"]))
  lower_name, lower_colour = colours.draw_colour(rng, colours.LEGS)
  bag_name, bag_colour = colours.draw_colour(rng, colours.BAGS)
  return Person(
    height=float(np.clip(rng.normal(0.95 if curvy else 1.0, 0.04), 0.84, 1.1)),
    girth=float(np.clip(rng.normal(1.0, 0.13), 0.78, 1.4)),
    shoulder=float(rng.normal(0.107 if curvy else 0.120, 0.005)),
    hip=float(rng.normal(0.095 if curvy else 0.088, 0.004)),
    leg=float(rng.normal(0.0, 0.012)),
    head=float(rng.normal(1.0, 0.05)),
    skin=colours.draw_colour(rng, colours.SKIN, 5.0)[1],
    hair=choose(HAIRSTYLES),
    hair_colour=colours.draw_colour(rng, colours.HAIR, 4.0)[1],
    headwear_colour=colours.draw_colour(rng, colours.CLOTHES)[1],
    beard=not curvy and bool(rng.random() < 0.25),
    upper=upper,
    upper_name=upper_name,
    upper_colour=upper_colour,
    accent_name=accent_name,
    accent_colour=accent_colour,
    inner_colour=colours.draw_colour(rng, colours.CLOTHES)[1],
    sleeve=float(rng.choice(sleeves)),
    hem=hem + float(rng.uniform(0, 0.025)),
    pattern=pattern,
    pattern_count=int(rng.integers(4, 9)),
    hood=upper == "hoodie" or (upper == "jacket" and rng.random() < 0.3),
    lower="none" if upper == "dress" else choose(LOWERS),
    lower_name=lower_name,
    lower_colour=lower_colour,
    leg_mark=choose(LEG_MARKS),
    shoe_colour=colours.draw_colour(rng, colours.SHOES)[1],
    sock_colour=colours.draw_colour(rng, colours.SHOES)[1],
    bag=choose(BAG_KINDS),
    bag_name=bag_name,
    bag_colour=bag_colour,
    bag_size=float(rng.uniform(0.8, 1.25)),
    bag_side=int(rng.choice([-1, 1])),
    stride=float(rng.uniform(0.75, 1.15)),
  )
