"""Images and data sets that tests write into their own folder."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from PIL import Image

from metabin_jax.data.records import Record


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
  """A uint8 [height, width, 3] picture with soft shapes and a little noise."""
  random = np.random.default_rng(seed)
  coarse = random.integers(0, 256, (8, 6, 3), dtype=np.uint8)
  soft = Image.fromarray(coarse).resize(
    (width, height), Image.Resampling.BICUBIC
  )
  noise = random.normal(0, 6, (height, width, 3))
  return np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(name="photo")
def photo_fixture():
  return photo


@pytest.fixture
def write_image(tmp_path):
  """write_image(name, height, width, seed, **save) -> path."""

  def write(name, height=24, width=12, seed=0, **save) -> str:
    path = pathlib.Path(tmp_path, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(height, width, seed)).save(path, **save)
    return str(path)

  return write


@pytest.fixture
def touch(tmp_path):
  """touch(name, ...) makes empty files (readers look at names only)."""

  def make(*names: str) -> str:
    for name in names:
      path = pathlib.Path(tmp_path, name)
      path.parent.mkdir(parents=True, exist_ok=True)
      path.touch()
    return str(tmp_path)

  return make


@pytest.fixture
def make_records(write_image):
  """make_records(domains, pids, images) writes that many pictures."""

  def make(domains=3, pids=3, images=3, suffix="png", height=24, width=12):
    records = []
    for d in range(domains):
      for p in range(pids):
        for i in range(images):
          name = f"d{d}/{p}/{i}.{suffix}"
          path = write_image(name, height, width, seed=len(records))
          records.append(Record(path, f"d{d}/{p}", i % 2, f"d{d}"))
    return records

  return make
