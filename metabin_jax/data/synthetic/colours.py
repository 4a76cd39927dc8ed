"""Palettes: what people wear, in which share, and how colours are coded."""

from __future__ import annotations

import numpy as np

# sRGB codes and relative frequency. About two thirds of the weight lies on
# black, white, greys, navy, denim and browns, as on a street: colour alone
# then leaves many identities alike and the model must look at cut, pattern
# and bag as well.
CLOTHES = {
  "black": ((24, 24, 27), 17),
  "charcoal": ((52, 54, 58), 9),
  "grey": ((112, 113, 116), 8),
  "light grey": ((172, 173, 175), 6),
  "white": ((228, 227, 222), 9),
  "navy": ((30, 38, 68), 9),
  "blue": ((44, 84, 150), 4),
  "light blue": ((140, 172, 205), 3),
  "khaki": ((140, 124, 90), 4),
  "beige": ((200, 184, 154), 4),
  "brown": ((84, 58, 42), 4),
  "olive": ((78, 80, 50), 3),
  "burgundy": ((96, 26, 40), 3),
  "red": ((178, 34, 38), 4),
  "pink": ((214, 140, 160), 2),
  "purple": ((92, 60, 120), 2),
  "green": ((40, 104, 66), 2),
  "teal": ((32, 106, 116), 2),
  "yellow": ((214, 176, 52), 2),
  "orange": ((206, 100, 38), 2),
}
LEGS = {
  "black": ((26, 26, 29), 24),
  "charcoal": ((54, 55, 60), 10),
  "grey": ((106, 107, 110), 6),
  "navy": ((32, 38, 62), 10),
  "denim": ((58, 76, 112), 18),
  "light denim": ((112, 136, 168), 8),
  "khaki": ((146, 128, 94), 7),
  "beige": ((194, 178, 150), 4),
  "brown": ((82, 60, 46), 4),
  "olive": ((80, 82, 56), 3),
  "white": ((222, 220, 214), 3),
  "burgundy": ((92, 30, 42), 1),
  "red": ((168, 36, 40), 1),
}
SHOES = {
  "black": ((22, 22, 24), 10),
  "white": ((224, 224, 222), 6),
  "grey": ((120, 120, 122), 3),
  "brown": ((86, 56, 36), 4),
  "navy": ((34, 42, 70), 2),
  "red": ((160, 36, 40), 1),
}
BAGS = {
  "black": ((26, 26, 30), 9),
  "grey": ((96, 98, 102), 4),
  "navy": ((34, 44, 80), 4),
  "brown": ((104, 68, 42), 4),
  "tan": ((170, 128, 84), 2),
  "red": ((170, 36, 44), 2),
  "green": ((62, 92, 60), 2),
  "purple": ((96, 56, 104), 1),
  "white": ((216, 214, 208), 1),
}
HAIR = {
  "black": ((22, 19, 18), 10),
  "dark brown": ((46, 32, 24), 8),
  "brown": ((88, 60, 38), 5),
  "blond": ((176, 142, 88), 3),
  "ginger": ((138, 70, 36), 1),
  "grey": ((142, 140, 138), 3),
}
# Light to dark, evenly weighted: skin tone is to tell people apart as little
# as it does in a low-resolution crop.
SKIN = {
  "1": ((236, 200, 174), 1),
  "2": ((222, 178, 146), 1),
  "3": ((198, 150, 116), 1),
  "4": ((160, 112, 80), 1),
  "5": ((116, 78, 54), 1),
  "6": ((78, 52, 38), 1),
}

Rgb = tuple[int, int, int]


def draw_colour(
  rng: np.random.Generator,
  palette: dict[str, tuple[Rgb, int]],
  spread: float = 7.0,
) -> tuple[str, Rgb]:
  """Draws a colour by its frequency, and one dye lot of it.

  Args:
    rng: advanced by four draws.
    palette: name -> (sRGB code, weight).
    spread: standard deviation of the dye lot in grey levels; two black coats
      are not the same black.

  Returns:
    The name of the palette entry and the jittered sRGB code.
  """
  names = list(palette)
  weights = np.array([palette[name][1] for name in names], dtype=np.float64)
  name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
  # Light and dark moves together, hue moves less.
  lot = rng.normal(0, spread) + rng.normal(0, 0.4 * spread, 3)
  code = np.clip(np.asarray(palette[name][0]) + lot, 8, 245)
  red, green, blue = (int(c) for c in code.round())
  return name, (red, green, blue)


def to_linear(code) -> np.ndarray:
  """Maps sRGB codes 0..255 to linear reflectance 0..1 (gamma 2.2).

  The pure power law stands in for the sRGB curve; cameras differ from either
  by more than the two differ from one another.
  """
  return (np.asarray(code, dtype=np.float32) / 255.0) ** np.float32(2.2)
