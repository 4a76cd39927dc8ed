"""What method "mar" starts from: threshold and centres of all images."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
import tiny_run

from metabin_jax import default_config, models
from metabin_jax.data import batches, images, readers
from metabin_jax.methods import mar
from metabin_jax.runtime import site_memory

sys.path.append(str(tiny_run.REPOSITORY / "tests" / "methods"))
import tiny

RANDOM = np.random.default_rng(3)


def brute_force(y, ratio):
  every = sorted(
    np.minimum(y[i], y[j]).sum() for i in range(len(y)) for j in range(i)
  )
  return every[-max(1, int(len(every) * ratio))]


@pytest.mark.parametrize("size", [2, 9, 40])
@pytest.mark.parametrize("ratio", [0.0, 0.005, 0.3, 1.0])
@pytest.mark.parametrize("rows", [3, 64])
def test_kth_agreement_equals_brute_force(size, ratio, rows):
  y = RANDOM.random((size, 6)).astype(np.float32)
  # Rows that are there twice: ties.
  y[size // 2] = y[0]
  y /= y.sum(1, keepdims=True)
  found = site_memory.kth_agreement(y, ratio, rows=rows)
  np.testing.assert_allclose(found, brute_force(y, ratio), rtol=1e-6)


def test_the_first_look_by_hand(tmp_path):
  """Threshold and centres of every image, under running statistics."""
  cameras = (0, 0, 0, 0, 0, 2, 2, 2, 7, 7, 7, 7)
  rows = [(f"s{n}", c, "site", "train") for n, c in enumerate(cameras)]
  spec = tiny_run.write_manifest(tmp_path / "site.csv", rows)
  records = readers.open_dataset(spec).train
  network = models.ReIDNetwork(tiny.Backbone("bn"), 5, neck="none")
  variables = models.init_variables(network, jax.random.key(1), 32, 16)
  moved = {"mean": 0.2, "var": 1.7}
  variables["batch_stats"] = jax.tree_util.tree_map_with_path(
    lambda path, leaf: np.full_like(leaf, moved[path[-1].key]),
    variables["batch_stats"],
  )
  config = default_config.get_config()
  config.data.height_px, config.data.width_px = 32, 16
  config.data.workers = 1
  config.eval.batch_size = 5  # the last one is padded
  rules = mar.Rules(scale=11.0, ratio=0.3)
  unlabelled = batches.make_unlabelled(records, batch_size=4, seed=0)
  memory = site_memory.begin(config, network, variables, unlabelled, rules)

  pixels = np.stack([images.load_image(r.path, 32, 16) for r in records])
  outputs = network.apply(variables, pixels, mode="eval")
  unit = [
    rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for rows in map(
      np.float64, (outputs.pooled, variables["params"]["classifier"].T)
    )
  ]
  scaled = 11.0 * unit[0] @ unit[1].T
  logs = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
  np.testing.assert_allclose(
    memory.threshold, brute_force(np.exp(logs), 0.3), rtol=1e-4
  )
  views = [logs[:5], logs[5:8], logs[8:]]
  np.testing.assert_allclose(
    memory.centers.mean, np.mean([v.mean(0) for v in views], 0), rtol=1e-3
  )
  np.testing.assert_allclose(
    memory.centers.std,
    np.mean([v.std(0, ddof=1) for v in views], 0),
    rtol=1e-3,
  )
  assert memory.multilabels.shape == (64, 5)
  assert not memory.multilabels.any()
  assert not memory.seen.any()
