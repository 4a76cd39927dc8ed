"""What stands behind the people: one wide picture for every camera."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from metabin_jax.data import seeding
from metabin_jax.data.synthetic import scene_props, scene_surfaces

# Sides of the wide picture as multiples of the crop's height.
PANORAMA_WIDTH, PANORAMA_HEIGHT = 2.75, 1.25
# The props' sizes are in pixels of a crop of this height; others are resized.
_DRAWN = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
  """What the cameras of one domain look at.

  Attributes:
    walls: (kind, colour) that a camera draws one of.
    floors: (kind, colour) likewise.
    props: (kind, least number, largest number), drawn in this order.
    texture: grey levels of the floor's roughness.
  """

  walls: tuple[tuple[str, tuple[int, int, int]], ...]
  floors: tuple[tuple[str, tuple[int, int, int]], ...]
  props: tuple[tuple[str, int, int], ...]
  texture: float


FAMILIES = {
  "atrium": Family(
    (("glass", (150, 164, 172)), ("panels", (206, 200, 188))),
    (("tile", (196, 188, 174)), ("tile", (170, 168, 164))),
    (("people", 0, 3), ("railing", 0, 1), ("plant", 1, 3), ("pillar", 0, 2)),
    2.0,
  ),
  "carpark": Family(
    (("panels", (150, 150, 144)), ("corrugated", (132, 134, 132))),
    (("lanes", (112, 112, 110)), ("lanes", (132, 130, 124))),
    (("car", 2, 4), ("pillar", 1, 3)),
    5.0,
  ),
  "campus": Family(
    (("greenery", (74, 100, 52)), ("facade", (160, 132, 112))),
    (("path", (160, 152, 138)), ("path", (140, 138, 134))),
    (("tree", 1, 3), ("bench", 0, 2), ("people", 0, 3)),
    6.0,
  ),
  "plaza": Family(
    (("shops", (178, 168, 150)), ("facade", (186, 172, 150))),
    (("paving", (178, 168, 152)), ("paving", (158, 150, 142))),
    (("people", 2, 6), ("bench", 0, 2), ("lamp", 0, 1)),
    5.0,
  ),
  "station": Family(
    (("tiles", (188, 192, 190)), ("tiles", (150, 166, 168))),
    (("platform", (128, 126, 122)), ("platform", (106, 108, 110))),
    (("train", 0, 1), ("poster", 1, 4), ("pillar", 0, 2), ("people", 0, 4)),
    4.0,
  ),
  "dusk": Family(
    (("facade", (104, 98, 94)), ("brick", (112, 84, 72))),
    (("road", (84, 84, 86)), ("road", (70, 72, 76))),
    (("lit window", 1, 4), ("fence", 0, 1), ("car", 0, 2), ("lamp", 1, 2)),
    5.0,
  ),
  "snow": Family(
    (("greenery", (178, 184, 188)), ("facade", (186, 186, 188))),
    (("plain", (226, 230, 236)), ("plain", (208, 214, 222))),
    (("bare tree", 1, 4), ("fence", 0, 1), ("drift", 2, 5)),
    5.0,
  ),
  "warehouse": Family(
    (("shelves", (60, 84, 120)), ("shelves", (168, 92, 44))),
    (("lanes", (150, 146, 136)), ("plain", (134, 132, 126))),
    (("boxes", 1, 4),),
    4.0,
  ),
  "oldcctv": Family(
    (("panels", (176, 168, 150)), ("shops", (150, 146, 140))),
    (("tile", (150, 142, 130)), ("tile", (124, 120, 114))),
    (("door", 1, 3), ("poster", 0, 3), ("railing", 0, 1), ("people", 0, 3)),
    3.0,
  ),
}


def create_panorama(
  seed: int, domain: int, camera: int, family: str, crop_height: int
) -> np.ndarray:
  """Draws the whole view of one camera under neutral light.

  Args:
    seed: the preset's seed.
    domain: index of the domain.
    camera: index of the camera inside the domain.
    family: key of `FAMILIES`.
    crop_height: pixels of a person crop on the drawing canvas; the picture is
      1.25 times as high and 2.75 times as wide.

  Returns:
    [H, W, 3] uint8 sRGB codes of the reflectance.
  """
  rng = seeding.generator(seed, "synthetic/scene", domain, camera)
  spec = FAMILIES[family]
  width = int(PANORAMA_WIDTH * _DRAWN)
  height = int(PANORAMA_HEIGHT * _DRAWN)
  image = Image.new("RGB", (width, height))
  line = int(height * rng.uniform(0.42, 0.70))
  stage = scene_surfaces.Stage(
    draw=ImageDraw.Draw(image),
    width=width,
    height=height,
    line=line,
    vanish=(rng.uniform(0, width), line - rng.uniform(0.2, 0.5) * height),
    rng=rng,
  )
  # Cameras take turns at the variants, so two neighbours differ.
  turn = domain + camera
  kind, colour = spec.walls[turn % len(spec.walls)]
  scene_surfaces.draw_wall(stage, kind, colour)
  kind, colour = spec.floors[int(rng.integers(len(spec.floors)))]
  scene_surfaces.draw_floor(stage, kind, colour)
  for prop, least, most in spec.props:
    for _ in range(int(rng.integers(least, most + 1))):
      scene_props.draw_prop(stage, prop)
  # Behind the plane of focus.
  image = image.filter(ImageFilter.GaussianBlur(1.6))
  pixels = np.asarray(image, dtype=np.float32)
  rough = spec.texture * (
    0.6 * scene_surfaces.value_noise(rng, height, width, 3)
    + 0.6 * scene_surfaces.value_noise(rng, height, width, 12)
  )
  rough[:line] *= 0.4
  # Light falls unevenly over a room or a street.
  uneven = 1 + 0.08 * scene_surfaces.value_noise(rng, height, width, 160)
  lit = (pixels + rough[..., None]) * uneven[..., None]
  codes = np.clip(lit, 0, 255).round().astype(np.uint8)
  if crop_height == _DRAWN:
    return codes
  size = (int(PANORAMA_WIDTH * crop_height), int(PANORAMA_HEIGHT * crop_height))
  resized = Image.fromarray(codes).resize(size, Image.Resampling.BICUBIC)
  return np.asarray(resized)
