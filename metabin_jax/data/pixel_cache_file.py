"""Images of one size and their checksums in one file of fixed length."""

from __future__ import annotations

import errno
import os
import pathlib
import threading
import weakref
import zlib

import numpy as np

# A record is two numbers: the CRC-32 of the pixels, and the same with these
# bits turned. Zeros, which a fresh file holds, are thus no record.
_RECORD = np.dtype(("<u4", 2))
_MARK = np.uint32(0x5A17F00D)
# Images begin at a page of the system's cache.
_PAGE = 4096
_NOT_SUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_ZEROS = bytes(2**20)


def file_bytes(count: int, height: int, width: int) -> int:
  """Returns the length of a file of `count` images, in bytes."""
  return _first_image(count) + count * height * width * 3


def reserve(path: pathlib.Path, size: int) -> None:
  """Makes a file of zeros that the disk has room for, or none at all.

  Args:
    path: the file; an old one is replaced.
    size: its length in bytes. Later writes within it cannot run out of space
      (but on file systems that write changed blocks elsewhere).

  Raises:
    OSError: if there is no room; nothing is left behind then.
  """
  unfinished = path.with_name(f"{path.name}.unfinished")
  try:
    with open(unfinished, "wb", buffering=0) as file:
      _reserve(file.fileno(), size)
      os.fsync(file.fileno())
    os.replace(unfinished, path)
  except BaseException:
    unfinished.unlink(missing_ok=True)
    raise


class PixelFile:
  """N images, uint8 [height, width, 3], and their CRC-32s.

  The file holds N records of 8 bytes (see `_RECORD`), zeros up to a multiple
  of 4,096 bytes, then the images one after the other. A record is written
  after its image has reached the disk, so that an image with a record is whole
  whatever happens; its checksum is compared at every reading.

  Images are read with `pread` and not through a memory map: both take them
  from the system's cache, but a map ends the process by a signal when the file
  is cut short or the disk fails, and stops all threads while it waits.

  Attributes:
    size: length of the file, in bytes.
  """

  def __init__(self, path: pathlib.Path, count: int, height: int, width: int):
    """Opens a file that `reserve` has made; without leave to write, to read.

    Args:
      path: the file.
      count: N.
      height: rows of an image, in pixels.
      width: columns of an image, in pixels.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file has another length.
    """
    try:
      self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
      if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise
      self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    weakref.finalize(self, os.close, self._fd)
    self._shape = (height, width, 3)
    self._image_bytes = height * width * 3
    self._start = _first_image(count)
    self.size = file_bytes(count, height, width)
    found = os.fstat(self._fd).st_size
    if found != self.size:
      raise ValueError(f"{path} has {found:,} bytes, want {self.size:,}.")
    table = os.pread(self._fd, count * _RECORD.itemsize, 0)
    self._records = np.frombuffer(table, "<u4").reshape(count, 2).copy()
    self._written: dict[int, int] = {}
    self._lock = threading.Lock()

  @property
  def finished(self) -> np.ndarray:
    """bool [N]: which images have a record."""
    return self._records[:, 0] == self._records[:, 1] ^ _MARK

  def read(self, index: int) -> np.ndarray | None:
    """Returns an image, not writable; None if it is missing or damaged."""
    checksum, marked = self._records[index]
    if checksum != marked ^ _MARK:
      return None
    try:
      data = os.pread(self._fd, self._image_bytes, self._place(index))
    except OSError:  # a bad spot of the disk
      return None
    if zlib.crc32(data) != checksum:  # damaged, or cut short
      return None
    return np.frombuffer(data, np.uint8).reshape(self._shape)

  def write(self, index: int, image: np.ndarray) -> None:
    """Writes an image, which counts once `commit` has been called.

    Several threads may write at a time.

    Args:
      index: which, from 0.
      image: uint8 [height, width, 3].

    Raises:
      OSError: if it cannot be written.
    """
    if image.dtype != np.uint8 or image.shape != self._shape:
      raise ValueError(
        f"image is {image.dtype} {image.shape}, want uint8 {self._shape}."
      )
    data = image.tobytes()
    _write(self._fd, data, self._place(index))
    with self._lock:
      self._written[index] = zlib.crc32(data)

  def commit(self) -> None:
    """Records all images written so far, once they have reached the disk.

    Raises:
      OSError: if it cannot be written.
    """
    with self._lock:
      if not self._written:
        return
      os.fsync(self._fd)
      for index, checksum in self._written.items():
        record = np.array([checksum, np.uint32(checksum) ^ _MARK], "<u4")
        _write(self._fd, record.tobytes(), index * _RECORD.itemsize)
        self._records[index] = record
      os.fsync(self._fd)
      self._written.clear()

  def _place(self, index: int) -> int:
    return self._start + index * self._image_bytes


def _first_image(count: int) -> int:
  return -(-count * _RECORD.itemsize // _PAGE) * _PAGE


def _reserve(fd: int, size: int) -> None:
  if hasattr(os, "posix_fallocate"):
    try:
      os.posix_fallocate(fd, 0, size)
    except OSError as error:
      if error.errno not in _NOT_SUPPORTED:
        raise
    else:
      return
  for start in range(0, size, len(_ZEROS)):
    _write(fd, _ZEROS[: size - start], start)


def _write(fd: int, data: bytes, start: int) -> None:
  view = memoryview(data)
  while view:
    # Short where the disk is full; the next call says so.
    done = os.pwrite(fd, view, start)
    view, start = view[done:], start + done
