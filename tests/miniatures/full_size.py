"""Names of the files of whole data sets, made up to fit the published numbers.

Each function returns {folder: names}. Persons, cameras and images are arranged
so that every number of the published archives that is checked comes out.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from metabin_jax.data import listing

# Market-1501, train part, cameras 1 to 6.
MARKET_TRAIN_IMAGES = (2017, 1709, 2707, 920, 2338, 3245)
_MARKET_TRAIN_PAIRS = (560, 520, 620, 302, 600, 630)
_MARKET_TRAIN_SINGLES = (70, 65, 80, 36, 60, 70)
_MARKET_TRAIN_TWOS = (250, 235, 260, 140, 241, 250)
_MARKET_FEWEST = 15
MARKET_MOST = 72
MARKET_TEST_PAIRS = 3368
DUKE_MOST = 426


def pretend(
  monkeypatch, root: pathlib.Path, names: dict[str, list[str]]
) -> pathlib.Path:
  """Makes the folders, and these names appear in them: no file is written."""
  inside = {}
  for folder, files in names.items():
    place = root / folder
    place.mkdir(parents=True)
    inside[str(place)] = sorted(files)
  monkeypatch.setattr(
    listing, "list_folder", lambda folder: (inside[folder], [], 0)
  )
  return root


def market1501() -> dict[str, list[str]]:
  train = [
    _market_name(f"{pid:04d}", camera, index)
    for (pid, camera), count in _market_train().items()
    for index in range(count)
  ]
  test_pairs = _pairs(range(2, 1502, 2), MARKET_TEST_PAIRS, 6)
  query = [_market_name(f"{pid:04d}", cam, 0) for pid, cam in test_pairs]
  counts = _spread(13115, len(test_pairs))
  gallery = [
    _market_name(f"{pid:04d}", camera, 1 + index)
    for (pid, camera), count in zip(test_pairs, counts, strict=True)
    for index in range(count)
  ]
  query[:6] = [f"{name}.jpg" for name in query[:6]]
  gallery[:18] = [f"{name}.jpg" for name in gallery[:18]]
  for pid, count in (("0000", 2798), ("-1", 3819)):
    gallery += [_market_name(pid, 1 + i % 6, i) for i in range(count)]
  return {
    "bounding_box_train": train,
    "query": query,
    "bounding_box_test": gallery,
  }


def dukemtmc() -> dict[str, list[str]]:
  pids = [1 + 7139 * number // 1811 for number in range(1812)]
  train_pids, rest = pids[::2][:702], [*pids[1::2], *pids[::2][702:]]
  test_pids, gallery_only = rest[:702], rest[702:]
  # At least two images of each person and camera; one person with very many.
  train_pairs = _pairs(train_pids, 2196, 8)
  few = [pair for pair in train_pairs if pair[0] == train_pids[-1]]
  many = [pair for pair in train_pairs if pair[0] == train_pids[0]]
  others = [pair for pair in train_pairs if pair not in {*few, *many}]
  counts = dict.fromkeys(few, 2)
  counts |= zip(many, _spread(DUKE_MOST, len(many)), strict=True)
  left = 16522 - sum(counts.values())
  counts |= zip(others, _spread(left, len(others)), strict=True)
  test_pairs = _pairs(test_pids, 2228, 8)
  # 26 persons have fewer than four images.
  alone = {
    (pid, 1 + number % 8): 3 if number < 26 else 10
    for number, pid in enumerate(gallery_only)
  }
  left = 17661 - sum(alone.values())
  in_gallery = dict(
    zip(test_pairs, _spread(left, len(test_pairs)), strict=True)
  )
  return {
    "bounding_box_train": _duke_names(counts, 0),
    "query": _duke_names(dict.fromkeys(test_pairs, 1), 0),
    "bounding_box_test": _duke_names(in_gallery | alone, 1),
  }


def _market_train() -> dict[tuple[int, int], int]:
  """(person, camera) -> number of images."""
  pids = range(1, 1502, 2)
  fewest, others = pids[:_MARKET_FEWEST], pids[_MARKET_FEWEST:]
  # Fifteen persons have two images, of two cameras.
  counts = {(pid, camera): 1 for pid in fewest for camera in (5, 6)}
  start = 0
  for camera, (pairs, singles, twos, images) in enumerate(
    zip(
      _MARKET_TRAIN_PAIRS,
      _MARKET_TRAIN_SINGLES,
      _MARKET_TRAIN_TWOS,
      MARKET_TRAIN_IMAGES,
      strict=True,
    ),
    1,
  ):
    left = images - sum(1 for _, cam in counts if cam == camera)
    turn = [others[(start + i) % len(others)] for i in range(pairs)]
    start += pairs
    sizes = [1] * singles + [2] * twos
    left -= sum(sizes)
    large = pairs - len(sizes)
    if camera == len(MARKET_TRAIN_IMAGES):
      # The last person in turn gets what makes it the largest.
      own = sum(n for (pid, _), n in counts.items() if pid == turn[-1])
      most = MARKET_MOST - own
      sizes += [*_spread(left - most, large - 1), most]
    else:
      sizes += _spread(left, large)
    counts |= {(pid, camera): n for pid, n in zip(turn, sizes, strict=True)}
  return counts


def _pairs(
  pids: Sequence[int], total: int, cameras: int
) -> list[tuple[int, int]]:
  """Gives every person three or four (or more) cameras, `total` pairs."""
  degrees = _spread(total, len(pids))
  return [
    (pid, 1 + (number + step) % cameras)
    for number, (pid, degree) in enumerate(zip(pids, degrees, strict=True))
    for step in range(degree)
  ]


def _spread(total: int, parts: int) -> list[int]:
  """Numbers that differ by one at most, the larger first."""
  small, more = divmod(total, parts)
  return [small + 1] * more + [small] * (parts - more)


def _market_name(pid: str, camera: int, index: int) -> str:
  return f"{pid}_c{camera}s{1 + index % 6}_{index:06d}_{index % 100:02d}.jpg"


def _duke_names(counts: dict[tuple[int, int], int], first: int) -> list[str]:
  return [
    f"{pid:04d}_c{camera}_f{first + index:07d}.jpg"
    for (pid, camera), count in counts.items()
    for index in range(count)
  ]
