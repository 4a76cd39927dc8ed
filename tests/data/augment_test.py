from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data import augment
from metabin_jax.errors import UserError

EVERYTHING = augment.AugmentConfig(jitter=True, erasing_prob=0.5)
ROWS = 400


def params(**changes):
  """Parameters for one row that change nothing, but for `changes`."""
  plain = augment.AugmentParams(
    flip=np.array([False]),
    pad_px=0,
    offset=np.zeros((1, 2), np.int32),
    jitter=None,
    order=None,
    erase=None,
  )
  return plain._replace(**changes)


def jitter(
  image, *, order=(0, 1, 2, 3), brightness=1, contrast=1, saturation=1, hue=0
):
  changed = augment.apply(
    image[None],
    params(
      jitter=np.array([[brightness, contrast, saturation, hue]], float),
      order=np.array([order], np.int8),
    ),
  )
  return changed[0]


def test_same_place_same_numbers():
  one = augment.draw(EVERYTHING, 1, "base", 7, 5)
  for a, b in zip(one, augment.draw(EVERYTHING, 1, "base", 7, 5), strict=True):
    np.testing.assert_array_equal(a, b)
  for other in (
    augment.draw(EVERYTHING, 2, "base", 7, 5),
    augment.draw(EVERYTHING, 1, "meta", 7, 5),
    augment.draw(EVERYTHING, 1, "base", 8, 5),
  ):
    assert (one.jitter != other.jitter).all()


def test_one_change_does_not_shift_another():
  default = augment.draw(augment.AugmentConfig(), 1, "base", 7, 50)
  full = augment.draw(EVERYTHING, 1, "base", 7, 50)
  np.testing.assert_array_equal(default.flip, full.flip)
  np.testing.assert_array_equal(default.offset, full.offset)
  assert default.jitter is None
  assert default.erase is None


def test_ranges():
  got = augment.draw(EVERYTHING, 0, "base", 0, ROWS)
  assert 0.4 < got.flip.mean() < 0.6
  assert got.offset.min() == 0
  assert got.offset.max() == 20
  assert len(np.unique(got.offset)) == 21
  low, high = got.jitter.min(0), got.jitter.max(0)
  np.testing.assert_allclose(low, [0.85, 0.85, 0.9, -0.1], atol=0.01)
  np.testing.assert_allclose(high, [1.15, 1.15, 1.1, 0.1], atol=0.01)
  assert (np.sort(got.order, 1) == np.arange(4)).all()
  assert len({tuple(order) for order in got.order.tolist()}) == 24
  assert 0.4 < (got.erase[:, 0, 0] > 0).mean() < 0.6


def test_flip_by_hand():
  image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
  got = augment.apply(image, params(flip=np.array([True])))
  np.testing.assert_array_equal(got[0], image[0][:, ::-1])


@pytest.mark.parametrize("offset", [(0, 0), (2, 2), (4, 4), (1, 3), (4, 0)])
def test_shift_is_pad_then_crop(offset, photo):
  image = photo(7, 5)
  padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
  y, x = offset
  got = augment.apply(
    image[None], params(pad_px=2, offset=np.array([offset], np.int32))
  )
  np.testing.assert_array_equal(got[0], padded[y : y + 7, x : x + 5])


def test_padding_wider_than_the_image(photo):
  offset = np.array([[0, 20]], np.int32)
  got = augment.apply(photo(7, 5)[None], params(pad_px=10, offset=offset))
  assert not got.any()


def test_flip_comes_before_the_shift(photo):
  image = photo(6, 4)
  got = augment.apply(
    image[None],
    params(
      flip=np.array([True]), pad_px=1, offset=np.array([[1, 0]], np.int32)
    ),
  )
  np.testing.assert_array_equal(got[0][:, 1:], image[:, ::-1][:, :-1])
  assert not got[0][:, 0].any()


def test_neutral_jitter_only_rounds(photo):
  image = photo(16, 8)
  got = jitter(image)
  # Through 8-bit HSV and back; 2 grey levels on average, as in torchvision.
  assert np.abs(got.astype(int) - image).mean() < 2


def test_brightness_by_hand():
  # Greys: their way through HSV and back is exact.
  image = np.repeat(np.array([[[10], [100], [250]]], np.uint8), 3, axis=2)
  got = jitter(image, brightness=1.15)
  np.testing.assert_array_equal(got[0, :, 0], [11, 115, 255])


def test_contrast_by_hand():
  image = np.zeros((1, 2, 3), np.uint8)
  image[0, 1] = 200  # mean grey 100
  got = jitter(image, contrast=0.85)
  np.testing.assert_allclose(got[0, :, 0], [15, 185], atol=1)


def test_saturation_zero_is_grey():
  image = np.full((1, 1, 3), (200, 100, 50), np.uint8)
  got = jitter(image, saturation=0.0)
  luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
  np.testing.assert_allclose(got[0, 0], [luma] * 3, atol=1)


@pytest.mark.parametrize(
  ("turns", "want"),
  [(1 / 3, (0, 255, 0)), (-1 / 3, (0, 0, 255)), (0.5, (0, 255, 255))],
)
def test_hue_turns_red(turns, want):
  image = np.full((1, 1, 3), (255, 0, 0), np.uint8)
  np.testing.assert_allclose(jitter(image, hue=turns)[0, 0], want, atol=8)


def test_jitter_follows_its_order():
  image = np.zeros((1, 2, 3), np.uint8)
  image[0, 1] = 200
  first = jitter(image, brightness=0.5, contrast=0.0, order=(0, 1, 2, 3))
  last = jitter(image, brightness=2.0, contrast=0.0, order=(1, 0, 2, 3))
  assert first[0, 0].tolist() == [50, 50, 50]
  assert last[0, 0].tolist() == [200, 200, 200]


def test_erasing_by_hand(photo):
  image = photo(20, 10)
  attempts = np.zeros((1, 10, 4))
  attempts[0, 0] = (0.9, 3.0, 0.5, 0.5)  # 23 rows: does not fit
  attempts[0, 1] = (0.1, 5.0, 0.999, 0.0)  # 10 x 2 pixels, at the bottom left
  got = augment.apply(image[None], params(erase=attempts))[0]
  assert (got[10:, :2] == augment.ERASED_PIXEL).all()
  np.testing.assert_array_equal(got[:10], image[:10])
  np.testing.assert_array_equal(got[:, 2:], image[:, 2:])


def test_erased_share_of_a_batch():
  config = augment.AugmentConfig(flip_prob=0, pad_px=0, erasing_prob=0.5)
  drawn = augment.draw(config, 0, "base", 0, ROWS)
  got = augment.apply(np.zeros((ROWS, 32, 16, 3), np.uint8), drawn)
  area = (got[..., 0] == augment.ERASED_PIXEL[0]).mean((1, 2))
  assert 0.4 < (area > 0).mean() < 0.6
  assert area.max() < 0.45
  assert area[area > 0].min() > 0.01


def test_batch_equals_rows_and_input_is_kept(photo):
  images = np.stack([photo(24, 12, seed) for seed in range(8)])
  before = images.copy()
  drawn = augment.draw(EVERYTHING, 3, "base", 0, 8)
  got = augment.apply(images, drawn)
  np.testing.assert_array_equal(images, before)
  for row in (5, 0):
    np.testing.assert_array_equal(
      got[row], augment.apply_row(images[row], drawn, row)
    )
  assert got.dtype == np.uint8
  assert (got != images).any((1, 2, 3)).all()


def test_nothing_to_do(photo):
  images = photo(24, 12)[None]
  drawn = augment.draw(augment.NO_AUGMENTATION, 3, "base", 0, 1)
  np.testing.assert_array_equal(augment.apply(images, drawn), images)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"flip_prob": 1.5}, r"flip_prob is 1.5; use a number from 0 to 1"),
    ({"hue": 0.6}, r"hue is 0.6; use a number from 0 to 0.5"),
    ({"pad_px": -1}, r"pad_px is -1; use a whole number"),
    ({"erasing_area": (0.5, 0.2)}, r"erasing_area is \(0.5, 0.2\).*<= 1"),
    ({"erasing_aspect": (0, 2)}, r"erasing_aspect is \(0, 2\)"),
  ],
)
def test_values_out_of_range(change, message):
  with pytest.raises(UserError, match=message):
    augment.AugmentConfig(**change)


def test_wrong_shapes():
  with pytest.raises(ValueError, match="want uint8 with 1 rows"):
    augment.apply(np.zeros((2, 4, 4, 3), np.uint8), params())
