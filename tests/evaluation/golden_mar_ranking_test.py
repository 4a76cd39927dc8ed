"""CMC and the three kinds of mAP of MAR's evaluation, in float64."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from metabin_jax.evaluation import ranking, summary

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "mar.npz")


def take(key):
  return GOLDEN[f"eval/{key}"]


@pytest.mark.parametrize(
  ("ap", "key"),
  [
    ("mar", "map_mar"),
    ("trapezoid", "map_matlab"),
    ("interpolation-free", "map_step"),
  ],
)
def test_mean_average_precision_and_cmc(ap, key):
  people = [take(name) for name in ("q_id", "q_cam", "g_id", "g_cam")]
  found = ranking.rank_distances(take("dist").T, *people, ap=ap)
  ranks = tuple(range(1, 1 + len(take("cmc"))))
  shares = summary.summarize(found, ranks)
  name = "mAP" if ap == "interpolation-free" else f"mAP ({ap})"
  assert 100 * shares[name] == pytest.approx(float(take(key)), rel=1e-9)
  cmc = [100 * shares[f"rank-{k}"] for k in ranks]
  np.testing.assert_allclose(cmc, take("cmc"), rtol=1e-9)
