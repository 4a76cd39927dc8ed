from __future__ import annotations

import concurrent.futures
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from metabin_jax.data import images
from metabin_jax.errors import UserError


def save(path, array, mode=None, **options):
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path, **options)
  return str(path)


def test_resizes_like_pillow(tmp_path, photo):
  array = photo(40, 30)
  path = save(tmp_path / "a.png", array)
  want = Image.fromarray(array).resize((12, 24), Image.Resampling.BICUBIC)
  got = images.load_image(path, 24, 12)
  assert got.dtype == np.uint8
  assert got.shape == (24, 12, 3)
  np.testing.assert_array_equal(got, np.asarray(want))


def test_same_size_is_untouched(tmp_path, photo):
  array = photo(24, 12)
  got = images.load_image(save(tmp_path / "a.png", array), 24, 12)
  np.testing.assert_array_equal(got, array)
  got[:] = 0  # the result belongs to the caller


@pytest.mark.parametrize(
  "suffix", ["jpg", "JPEG", "bmp", "webp", "tif", "tiff"]
)
def test_formats(tmp_path, photo, suffix):
  array = photo(96, 48)
  options = {"quality": 95} if suffix in ("jpg", "JPEG", "webp") else {}
  got = images.load_image(
    save(tmp_path / f"a.{suffix}", array, **options), 96, 48
  )
  assert np.abs(got.astype(int) - array).mean() < 6


def test_grey_jpeg(tmp_path, photo):
  path = save(tmp_path / "a.jpg", photo(24, 12), "L", quality=95)
  got = images.load_image(path, 24, 12)
  assert (got[..., :1] == got).all()
  want = np.asarray(Image.fromarray(photo(24, 12)).convert("L"), int)
  assert np.abs(got[..., 0] - want).mean() < 3


def test_cmyk_jpeg(tmp_path, photo):
  array = photo(24, 12)
  path = save(tmp_path / "a.jpg", array, "CMYK", quality=95)
  got = images.load_image(path, 24, 12)
  assert np.abs(got.astype(int) - array).mean() < 8


def test_palette_png(tmp_path):
  array = np.zeros((4, 4, 3), np.uint8)
  array[:2] = (250, 10, 60)
  path = save(tmp_path / "a.png", array, "P")
  with Image.open(path) as image:
    assert image.mode == "P"
  got = images.load_image(path, 4, 4)
  assert np.abs(got.astype(int) - array).max() < 60  # web palette


def test_16_bit_png_is_scaled_not_clipped(tmp_path):
  values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
  path = save(tmp_path / "a.png", values)
  with Image.open(path) as image:
    assert image.mode.startswith("I")
  got = images.load_image(path, 16, 16)
  want = np.arange(256, dtype=np.uint8).reshape(16, 16)
  np.testing.assert_array_equal(got, np.repeat(want[..., None], 3, -1))


def test_transparency_is_over_black(tmp_path):
  rgba = np.full((2, 2, 4), 200, np.uint8)
  rgba[0, :, 3] = 0
  rgba[1, :, 3] = 255
  got = images.load_image(save(tmp_path / "a.png", rgba), 2, 2)
  assert got[:, 0, 0].tolist() == [0, 200]


def test_palette_transparency_makes_no_warning(tmp_path):
  palette = Image.new("P", (2, 2), 1)
  palette.putpalette([0, 0, 0, 255, 0, 0])
  path = tmp_path / "a.png"
  palette.save(path, transparency=b"\xff\x80")
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    got = images.load_image(str(path), 2, 2)
  assert got[0, 0].tolist() == [128, 0, 0]


def test_exif_orientation(tmp_path, photo):
  array = photo(10, 20)
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise by a quarter
  path = save(tmp_path / "a.png", array, exif=exif)
  got = images.load_image(path, 20, 10)
  np.testing.assert_array_equal(got, np.rot90(array, -1))
  assert not images.is_plain(path)


def test_broken_exif_is_ignored(tmp_path, photo):
  path = tmp_path / "a.jpg"
  broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x09junk"
  save(path, photo(24, 12), exif=broken)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert images.load_image(str(path), 24, 12).shape == (24, 12, 3)


def jpeg(photo):
  out = io.BytesIO()
  Image.fromarray(photo(64, 32)).save(out, "JPEG")
  return out.getvalue()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"hello, I am text", r"a.jpg cannot be read \(it is not an image, it beg"),
    (b"", r"a.jpg cannot be read \(it is not an image, it is empty\); replace"),
    (b"\xff\xd8\xff\xe0" + b"\0" * 50, r"a.jpg cannot be read \("),
  ],
)
def test_not_an_image(tmp_path, content, message):
  path = tmp_path / "a.jpg"
  path.write_bytes(content)
  with pytest.raises(UserError, match=message):
    images.load_image(str(path), 8, 8)
  assert not images.is_plain(str(path))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_truncated(tmp_path, photo, suffix):
  path = tmp_path / f"a.{suffix}"
  Image.fromarray(photo(64, 32)).save(path)
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(
    UserError, match=rf"a.{suffix} cannot be read \(.*replace it"
  ):
    images.load_image(str(path), 8, 8)


def test_corrupt_png(tmp_path, photo):
  path = tmp_path / "a.png"
  Image.fromarray(photo(64, 32)).save(path)
  content = bytearray(path.read_bytes())
  content[60:80] = b"\0" * 20
  path.write_bytes(content)
  with pytest.raises(UserError, match=r"a.png cannot be read \("):
    images.load_image(str(path), 8, 8)


def test_corrupt_jpeg(tmp_path, photo):
  path = tmp_path / "a.jpg"
  content = jpeg(photo)
  path.write_bytes(content[:20] + b"\0" * 300 + content[320:])
  with pytest.raises(UserError, match=r"a.jpg cannot be read \("):
    images.load_image(str(path), 8, 8)


def test_missing(tmp_path):
  with pytest.raises(UserError, match=r"no.jpg does not exist; restore it"):
    images.load_image(str(tmp_path / "no.jpg"), 8, 8)


def test_folder(tmp_path):
  with pytest.raises(UserError, match=r"cannot be read \("):
    images.load_image(str(tmp_path), 8, 8)


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_decompression_bomb(tmp_path, side):
  def chunk(kind, body):
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

  header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
  path = tmp_path / "a.png"
  path.write_bytes(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
  )
  with pytest.raises(
    UserError, match="claims more than 100 megapixels; shrink"
  ):
    images.load_image(str(path), 8, 8)
  assert not images.is_plain(str(path))


def test_floating_point_tiff(tmp_path):
  path = save(tmp_path / "a.tif", np.ones((4, 4), np.float32))
  with pytest.raises(UserError, match="floating-point pixels have no agreed"):
    images.load_image(path, 4, 4)


def test_threads_leave_no_filter_that_silences_others(tmp_path, photo):
  paths = [save(tmp_path / f"{i}.jpg", photo(24, 12, i)) for i in range(8)]
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda p: images.load_image(p, 24, 12), paths * 4))
  with pytest.warns(UserWarning, match="ours"):
    warnings.warn("ours", stacklevel=1)


def test_plain(tmp_path, photo):
  array = photo(24, 12)
  assert images.is_plain(save(tmp_path / "a.jpg", array))
  assert images.is_plain(save(tmp_path / "b.jpg", array, "L"))
  assert images.is_plain(save(tmp_path / "c.png", array))
  assert not images.is_plain(save(tmp_path / "d.png", array, "P"))
  assert not images.is_plain(save(tmp_path / "e.png", array, "RGBA"))
  assert not images.is_plain(save(tmp_path / "f.jpg", array, "CMYK"))
  assert not images.is_plain(save(tmp_path / "g.webp", array))
  deep = np.zeros((4, 4), np.uint16)
  assert not images.is_plain(save(tmp_path / "h.png", deep))


def test_16_bit_colour_png_is_not_plain(tmp_path):
  def chunk(kind, body):
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

  header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
  pixel = b"\0" + struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)
  path = tmp_path / "a.png"
  path.write_bytes(
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", zlib.compress(pixel))
    + chunk(b"IEND", b"")
  )
  assert not images.is_plain(str(path))
  got = images.load_image(str(path), 1, 1)
  assert got[0, 0].tolist() == [0x12, 0x56, 0x9A]
