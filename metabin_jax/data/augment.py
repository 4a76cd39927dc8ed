"""Random changes of training images, drawn apart from being applied.

All random numbers of a batch are drawn from (seed, stream, draw number) before
any image is touched, so every loader makes the same pixels of them, in any
order and on any number of threads.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance

from metabin_jax.data import seeding
from metabin_jax.errors import UserError

# ImageNet mean pixel in 0..255, rounded: erased areas are neutral to a
# network that subtracts it.
ERASED_PIXEL = (124, 116, 104)
_ERASE_ATTEMPTS = 10
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """What may happen to a training image, in this order.

  Attributes:
    flip_prob: probability of a horizontal flip, in [0, 1].
    pad_px: the image is padded with this many black pixels on each side and
      cropped back to its size at a random place; 0 switches this off.
    jitter: whether colours are jittered, every image anew.
    brightness: factor from [1 - x, 1 + x]; x in [0, 1].
    contrast: as brightness.
    saturation: as brightness.
    hue: shift from [-x, x], in turns of the colour circle; x in [0, 0.5].
    erasing_prob: probability that a rectangle is blanked out, in [0, 1].
    erasing_area: its area as a share of the image, (least, most).
    erasing_aspect: its height / width, (least, most), log-uniform.

  Source: reference fastreid/data/transforms/build.py; jitter is on in its
    single-source configurations only, erasing in none.
  """

  flip_prob: float = 0.5
  pad_px: int = 10
  jitter: bool = False
  brightness: float = 0.15
  contrast: float = 0.15
  saturation: float = 0.1
  hue: float = 0.1
  erasing_prob: float = 0.0
  erasing_area: tuple[float, float] = (0.02, 0.4)
  erasing_aspect: tuple[float, float] = (0.3, 1 / 0.3)

  def __post_init__(self):
    """Refuses values out of range."""
    limits = {
      "flip_prob": 1.0,
      "erasing_prob": 1.0,
      "brightness": 1.0,
      "contrast": 1.0,
      "saturation": 1.0,
      "hue": 0.5,
    }
    for key, limit in limits.items():
      value = getattr(self, key)
      if not 0 <= value <= limit:
        raise UserError(
          f"augmentation {key} is {value}; use a number from 0 to {limit:g}."
        )
    if self.pad_px < 0 or self.pad_px != int(self.pad_px):
      raise UserError(
        f"augmentation pad_px is {self.pad_px}; use a whole number >= 0."
      )
    for key, most in (("erasing_area", 1.0), ("erasing_aspect", math.inf)):
      low, high = getattr(self, key)
      if not 0 < low <= high <= most:
        raise UserError(
          f"augmentation {key} is ({low:g}, {high:g}); use (least, most) with "
          f"0 < least <= most{' <= 1' if most == 1 else ''}."
        )


NO_AUGMENTATION = AugmentConfig(flip_prob=0.0, pad_px=0)


class AugmentParams(NamedTuple):
  """Everything random about B images.

  Attributes:
    flip: bool [B].
    pad_px: padding on each side.
    offset: int32 [B, 2] top and left of the crop in the padded image, in
      [0, 2 pad_px].
    jitter: float64 [B, 4] brightness, contrast and saturation factors and hue
      shift, or None.
    order: int8 [B, 4] order in which the four are applied, or None.
    erase: float64 [B, 10, 4] attempts at a rectangle: area share, height /
      width, and top and left as shares of the free room; an area of 0 means
      that nothing is erased. Or None.
  """

  flip: np.ndarray
  pad_px: int
  offset: np.ndarray
  jitter: np.ndarray | None
  order: np.ndarray | None
  erase: np.ndarray | None


def draw(
  config: AugmentConfig, seed: int, stream: str, number: int, rows: int
) -> AugmentParams:
  """Draws the changes for one batch.

  Each kind of change has its own generator, so switching one on or off leaves
  the others as they are.

  Args:
    config: what may happen.
    seed: seed of the run.
    stream: name of the batch stream, such as "base" or "meta".
    number: number of the batch in its stream.
    rows: B, images in the batch.

  Returns:
    The parameters for `apply`.
  """

  def uniform(kind: str, *shape: int) -> np.ndarray:
    place = f"augment/{stream}/{kind}"
    return seeding.generator(seed, place, number).random((rows, *shape))

  places = 2 * config.pad_px + 1
  offset = np.floor(uniform("crop", 2) * places).astype(np.int32)
  jitter = order = erase = None
  if config.jitter:
    reach = [config.brightness, config.contrast, config.saturation, config.hue]
    middle = np.array([1.0, 1.0, 1.0, 0.0])
    jitter = middle + (2 * uniform("jitter", 4) - 1) * np.array(reach)
    order = np.argsort(uniform("order", 4), axis=1).astype(np.int8)
  if config.erasing_prob > 0:
    erase = uniform("erase", _ERASE_ATTEMPTS, 4)
    least, most = config.erasing_area
    erase[..., 0] = least + (most - least) * erase[..., 0]
    low, high = np.log(config.erasing_aspect)
    erase[..., 1] = np.exp(low + (high - low) * erase[..., 1])
    erase[uniform("erase_at_all") >= config.erasing_prob, :, 0] = 0.0
  flip = uniform("flip") < config.flip_prob
  return AugmentParams(flip, config.pad_px, offset, jitter, order, erase)


def take(params: AugmentParams, rows: np.ndarray) -> AugmentParams:
  """The changes of some rows, int [N], of a batch."""
  return params._replace(
    flip=params.flip[rows],
    offset=params.offset[rows],
    jitter=None if params.jitter is None else params.jitter[rows],
    order=None if params.order is None else params.order[rows],
    erase=None if params.erase is None else params.erase[rows],
  )


def apply(images: np.ndarray, params: AugmentParams) -> np.ndarray:
  """Changes a batch.

  Args:
    images: uint8 [B, H, W, 3].
    params: parameters for B images.

  Returns:
    uint8 [B, H, W, 3], a new array.

  Raises:
    ValueError: if shapes or types do not fit.
  """
  if images.dtype != np.uint8 or images.shape[:1] != params.flip.shape:
    raise ValueError(
      f"images are {images.dtype} {images.shape}, want uint8 with "
      f"{len(params.flip)} rows."
    )
  rows = [apply_row(image, params, row) for row, image in enumerate(images)]
  return np.stack(rows)


def apply_row(image: np.ndarray, params: AugmentParams, row: int) -> np.ndarray:
  """Changes one image, uint8 [H, W, 3], by the parameters of one row."""
  if params.flip[row]:
    image = image[:, ::-1]
  if params.pad_px:
    image = _shift(image, params.pad_px - params.offset[row])
  if params.jitter is not None and params.order is not None:
    image = _jitter(image, params.jitter[row], params.order[row])
  if params.erase is not None:
    image = _erase(image, params.erase[row])
  return np.ascontiguousarray(image)


def _shift(image: np.ndarray, by: np.ndarray) -> np.ndarray:
  """Moves an image down and right; zero padding and cropping in one copy."""
  shifted = np.zeros_like(image)
  height, width = image.shape[:2]
  down, right = (int(b) for b in by)
  shifted[
    max(down, 0) : max(height + down, 0), max(right, 0) : max(width + right, 0)
  ] = image[
    max(-down, 0) : max(height - down, 0),
    max(-right, 0) : max(width - right, 0),
  ]
  return shifted


def _jitter(
  image: np.ndarray, amounts: np.ndarray, order: np.ndarray
) -> np.ndarray:
  """Changes colours; each operation rounds to 8 bits before the next.

  Source: torchvision.transforms.ColorJitter on Pillow images, which the
    reference uses: Pillow's blends, and a hue shift in 8-bit HSV.
  """
  picture = Image.fromarray(np.ascontiguousarray(image))
  for kind in order:
    amount = float(amounts[kind])
    if kind == BRIGHTNESS:
      picture = ImageEnhance.Brightness(picture).enhance(amount)
    elif kind == CONTRAST:
      picture = ImageEnhance.Contrast(picture).enhance(amount)
    elif kind == SATURATION:
      picture = ImageEnhance.Color(picture).enhance(amount)
    else:
      picture = _shift_hue(picture, amount)
  return np.asarray(picture)


def _shift_hue(picture: Image.Image, turns: float) -> Image.Image:
  steps = int(turns * 255) % 256
  hue, saturation, value = picture.convert("HSV").split()
  hue = hue.point([(level + steps) % 256 for level in range(256)])
  return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _erase(image: np.ndarray, attempts: np.ndarray) -> np.ndarray:
  """Blanks out the first rectangle that fits; none if no attempt does.

  Source: Zhong et al., "Random erasing data augmentation" (AAAI 2020).
  """
  height, width = image.shape[:2]
  for area, aspect, top_share, left_share in attempts:
    high = round(math.sqrt(area * height * width * aspect))
    wide = round(math.sqrt(area * height * width / aspect))
    if area > 0 and 0 < high < height and 0 < wide < width:
      top = int(top_share * (height - high + 1))
      left = int(left_share * (width - wide + 1))
      image = image.copy()
      image[top : top + high, left : left + wide] = ERASED_PIXEL
      return image
  return image
