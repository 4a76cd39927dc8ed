from __future__ import annotations

import itertools

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import calibration


def people(persons, images, spread=0.6, seed=0, dim=16):
  """Unit vectors about one centre for each person, from three cameras."""
  random = np.random.default_rng(seed)
  centres = random.normal(size=(persons, dim))
  person = np.repeat(np.arange(persons), images)
  vectors = centres[person] + spread * random.normal(size=(len(person), dim))
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  camids = random.integers(0, 3, len(person))
  return vectors.astype(np.float32), person.astype(str), camids


def pairs(vectors, pids, camids, cross_camera=True):
  """Cosines of genuine and of impostor pairs, one by one."""
  scores = vectors @ vectors.T
  genuine, impostor = [], []
  for i, j in itertools.combinations(range(len(pids)), 2):
    if pids[i] != pids[j]:
      impostor.append(scores[i, j])
    elif not (cross_camera and camids[i] == camids[j] >= 0):
      genuine.append(scores[i, j])
  return np.array(genuine), np.array(impostor)


@pytest.mark.parametrize("wanted", [0.3, 0.01, 0.001])
@pytest.mark.parametrize("block", [7, 1024])
def test_counts_are_those_of_all_pairs(monkeypatch, wanted, block):
  monkeypatch.setattr(calibration, "_BLOCK", block)
  vectors, *labels = people(30, 5)
  # Products of these are exact, so that no order of sums changes them.
  data = (np.round(vectors * 256) / 256, *labels)
  genuine, impostor = pairs(*data)
  found = calibration.calibrate(*data, wanted, resamples=20)
  assert (found.genuine, found.impostor) == (len(genuine), len(impostor))
  assert found.persons == 30
  reached = (impostor >= np.float32(found.threshold)).sum()
  assert found.fmr.rate == pytest.approx(reached / len(impostor), abs=1e-12)
  # The smallest such number: the next smaller one lets too many through.
  lower = np.nextafter(np.float32(found.threshold), np.float32(-1))
  allowed = int(wanted * len(impostor))
  assert allowed - 3 <= reached <= allowed < (impostor >= lower).sum()
  missed = (genuine < np.float32(found.threshold)).mean()
  assert found.fnmr.rate == pytest.approx(missed, abs=1e-12)
  for interval in (found.fmr, found.fnmr):
    assert 0 <= interval.low <= interval.rate <= interval.high <= 1


def test_cameras_of_genuine_pairs():
  data = people(10, 6)
  for cross_camera in (True, False):
    found = calibration.calibrate(
      *data, 0.05, cross_camera=cross_camera, resamples=5
    )
    assert found.genuine == len(pairs(*data, cross_camera)[0])
  unknown = (*data[:2], np.full(60, -1))
  assert calibration.calibrate(*unknown, 0.05, resamples=5).genuine == 10 * 15
  one = (*data[:2], np.zeros(60, int))
  with pytest.raises(UserError, match="two cameras; pass --cross-camera=off"):
    calibration.calibrate(*one, 0.05)


def test_intervals_are_those_of_drawn_persons():
  """The same draws, with every person's pairs written out."""
  data = people(8, 4, spread=1.0)
  vectors, pids, camids = data
  found = calibration.calibrate(*data, 0.05, resamples=50, seed=3)
  scores = vectors @ vectors.T
  threshold = np.float32(found.threshold)
  drawn = np.random.default_rng(3).multinomial(8, np.full(8, 1 / 8), size=50)
  rates = {"fmr": [], "fnmr": []}
  for weights in drawn:
    false = impostor = missed = genuine = 0
    for i, j in itertools.combinations(range(len(pids)), 2):
      one, other = weights[int(pids[i])], weights[int(pids[j])]
      if pids[i] != pids[j]:
        impostor += one * other
        false += one * other * (scores[i, j] >= threshold)
      elif camids[i] != camids[j]:
        genuine += one
        missed += one * (scores[i, j] < threshold)
    rates["fmr"].append(false / impostor)
    rates["fnmr"].append(missed / genuine)
  for name, values in rates.items():
    got = getattr(found, name)
    low, high = np.quantile(values, [0.025, 0.975])
    assert got.low == pytest.approx(min(low, got.rate), abs=1e-12)
    assert got.high == pytest.approx(max(high, got.rate), abs=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
  """FNMR of a fixed law, in 60 sets of 40 persons."""
  truth = np.mean(
    [
      calibration.calibrate(*people(40, 3, 0.9, s), 0.01, resamples=2).fnmr.rate
      for s in range(100, 200)
    ]
  )
  inside = 0
  for seed in range(60):
    found = calibration.calibrate(
      *people(40, 3, 0.9, seed), 0.01, confidence=0.9, resamples=200
    )
    inside += found.fnmr.low <= truth <= found.fnmr.high
  # The threshold moves from set to set too, which no interval at a fixed
  # threshold knows of; so somewhat fewer than 54 of 60.
  assert 36 <= inside <= 60


def test_no_missed_pair_does_not_mean_that_none_will_be():
  found = calibration.calibrate(*people(20, 4, spread=0.01), 0.02)
  assert found.fnmr.rate == 0
  assert found.fnmr.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_all_pairs_missed_does_not_mean_that_all_will_be():
  vectors, pids, camids = people(20, 4, spread=0.01)
  # Images of one person are of opposite directions, those of others are alike.
  vectors = np.where(np.arange(80)[:, None] % 2, -vectors[0], vectors[0])
  camids = np.arange(80) % 2
  found = calibration.calibrate(vectors, pids, camids, 0.02)
  assert found.fnmr.rate == found.fnmr.high == 1
  assert found.fnmr.low == pytest.approx(0.025 ** (1 / 20))


def test_sets_that_are_too_small_say_so():
  data = people(4, 3)
  with pytest.raises(
    UserError,
    match=r"54 pairs .* rate of 0\.001: the smallest they support is 5\.6e-02",
  ):
    calibration.calibrate(*data, 0.001)
  calibration.calibrate(*data, 0.06, resamples=5)
  vectors, pids, camids = data
  with pytest.raises(UserError, match="the images show one person"):
    calibration.calibrate(vectors[:3], pids[:3], camids[:3], 0.5)
  with pytest.raises(UserError, match="no two images show one person"):
    calibration.calibrate(
      vectors, np.arange(12).astype(str), camids, 0.06, cross_camera=False
    )
  for wanted in (0, 1, -0.1):
    with pytest.raises(ValueError, match="want a number between 0 and 1"):
      calibration.calibrate(*data, wanted)


def test_equal_cosines_do_not_flatter():
  vectors = np.tile(np.eye(3, dtype=np.float32)[0], (9, 1))
  found = calibration.calibrate(
    vectors, np.repeat(["a", "b", "c"], 3), np.arange(9), 0.5, resamples=5
  )
  assert found.fmr.rate == 0
  assert found.fnmr.rate == 1
