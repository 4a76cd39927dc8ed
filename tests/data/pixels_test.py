from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from metabin_jax.data import images, pixels
from metabin_jax.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8)


def test_file_picture_and_array_give_the_same_pixels(tmp_path):
  path = tmp_path / "a.png"
  Image.fromarray(NOISE).save(path)
  want = images.load_image(str(path), 10, 6)
  for image in (path, str(path), Image.open(path), NOISE):
    np.testing.assert_array_equal(pixels.to_pixels(image, 10, 6), want)
  np.testing.assert_array_equal(pixels.to_pixels(NOISE, 20, 12), NOISE)


def test_channels_of_opencv_are_turned_round():
  turned = pixels.to_pixels(NOISE[:, :, ::-1], 10, 6, order="BGR")
  np.testing.assert_array_equal(turned, pixels.to_pixels(NOISE, 10, 6))
  with pytest.raises(UserError, match="order is 'GRB'; use one of RGB, BGR"):
    pixels.to_pixels(NOISE, 10, 6, order="GRB")


def test_pictures_of_other_modes():
  grey = Image.fromarray(NOISE[:, :, 0])
  found = pixels.to_pixels(grey, 20, 12)
  np.testing.assert_array_equal(found, np.stack([NOISE[:, :, 0]] * 3, -1))
  with pytest.raises(UserError, match="floating-point pixels have no agreed"):
    pixels.to_pixels(Image.new("F", (4, 4)), 4, 4)


@pytest.mark.parametrize(
  ("array", "message"),
  [
    (NOISE[:, :, 0], r"\(20, 12\), want \[H, W, 3\]; repeat grey"),
    (NOISE.transpose(2, 0, 1), r"channels come last: x\.transpose\(1, 2, 0\)"),
    (np.zeros((4, 4, 4), np.uint8), "leave transparency out"),
    (np.zeros((4, 4, 1), np.uint8), r"repeat grey.* np\.repeat\(x, 3, axis=2"),
    (NOISE.tolist(), r"is a list .*: np\.asarray\(x, np\.uint8\)"),
    (b"a.jpg", "an image is of type bytes; paths, PIL images and uint8 arrays"),
    (None, "an image is of type NoneType; paths"),
    (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\), want \[H, W, 3\]\."),
    (np.zeros((0, 4, 3), np.uint8), "has no pixels"),
    (NOISE / 255, r"is float64, want .* as uint8: \(x \* 255\)\.round"),
    (
      NOISE.astype(np.float32),
      "is float32, want numbers from 0 to 255 as uint8",
    ),
    (NOISE.astype(np.int64), "is int64"),
    (NOISE[None], r"\(1, 20, 12, 3\)"),
  ],
)
def test_arrays_that_are_no_image(array, message):
  with pytest.raises(UserError, match=message):
    pixels.to_pixels(array, 10, 6)


def test_batches():
  assert pixels.split_batch("a.jpg") == ["a.jpg"]
  assert pixels.split_batch(["a.jpg", NOISE])[0] == "a.jpg"
  assert len(pixels.split_batch(np.stack([NOISE] * 3))) == 3
  with pytest.raises(UserError, match=r"put it into a list: \[image\]"):
    pixels.split_batch(NOISE)


@pytest.mark.parametrize(
  "batch", [None, 3, b"a.jpg", bytearray(b"a"), {"a": "a.jpg"}, io.BytesIO()]
)
def test_what_holds_no_images(batch):
  with pytest.raises(UserError, match=r"images are of type .* is accepted"):
    pixels.split_batch(batch)


def test_other_batches():
  assert pixels.split_batch(iter(["a.jpg", "b.jpg"])) == ["a.jpg", "b.jpg"]
  assert list(pixels.split_batch(np.array(["a.jpg", "b.jpg"]))) == [
    "a.jpg",
    "b.jpg",
  ]
  for array in (NOISE[:, :, 0], NOISE[0, :, 0], np.array(3)):
    with pytest.raises(UserError, match="where several images are wanted"):
      pixels.split_batch(array)


def test_pixels_that_may_be_of_another_range():
  with pytest.warns(UserWarning, match="holds no number above 1.*by 255"):
    pixels.to_pixels((NOISE > 127).astype(np.uint8), 10, 6)
  # Black is a picture, and so is a pixel; warnings are errors here.
  pixels.to_pixels(np.zeros_like(NOISE), 10, 6)
  pixels.to_pixels(np.ones((1, 1, 3), np.uint8), 10, 6)
  pixels.to_pixels(NOISE, 10, 6)
