from __future__ import annotations

import numpy as np
import pytest
import tiny

from metabin_jax.methods import objectives
from metabin_jax.models import Outputs
from metabin_jax.ops import losses, restitution_loss

BATCH = tiny.batch()


def outputs():
  random = np.random.default_rng(0)
  rows = BATCH.pid.size
  pooled = random.normal(0, 1, (rows, 5)).astype(np.float32)
  logits = random.normal(0, 1, (rows, 6)).astype(np.float32)
  # The embedding takes no part in any loss.
  return Outputs(pooled, np.full_like(pooled, np.nan), logits)


def test_sum_of_weighted_parts():
  out = outputs()
  total, parts = objectives.make_objective(
    ("ce", "triplet", "shuffle", "scatter"), weights={"scatter": 0.5, "ce": 2}
  )(out, BATCH)
  want = {
    "ce": losses.cross_entropy(out.logits, BATCH.pid),
    "triplet": losses.triplet(out.pooled, BATCH.pid),
    "shuffle": losses.shuffle(out.pooled, BATCH.pid, BATCH.domain),
    "scatter": losses.scatter(out.pooled, BATCH.domain),
  }
  assert set(parts) == set(want)
  for name, value in want.items():
    np.testing.assert_allclose(parts[name], value, rtol=1e-6)
  expected = 2 * want["ce"] + want["triplet"] + want["shuffle"]
  expected += 0.5 * want["scatter"]
  np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_options_reach_the_losses():
  out = outputs()
  _, parts = objectives.make_objective(
    ("ce", "triplet", "scatter"),
    margin=5.0,
    smoothing=0.4,
    smoothing_spread="all",
    scatter_normalize=False,
  )(out, BATCH)
  ce = losses.cross_entropy(out.logits, BATCH.pid, smoothing=0.4, spread="all")
  triplet = losses.triplet(out.pooled, BATCH.pid, margin=5.0)
  scatter = losses.scatter(out.pooled, BATCH.domain, normalize=False)
  np.testing.assert_allclose(
    [parts[n] for n in ("ce", "triplet", "scatter")],
    [ce, triplet, scatter],
    rtol=1e-6,
  )


def test_loss_of_the_restitution_layers():
  rows = np.random.default_rng(1).normal(0, 1, (2, 3, BATCH.pid.size, 4))
  first, second = (
    restitution_loss.Pooled(*values.astype(np.float32), weight)
    for values, weight in zip(rows, (0.1, 0.5), strict=True)
  )
  aux = {"backbone": {"stage1": {"pooled": (first,)}, "stage2": (second,)}}
  out = outputs()._replace(aux=aux)
  objective = objectives.make_objective(("ce", "snr"), weights={"snr": 3.0})
  total, parts = objective(out, BATCH)
  want = restitution_loss.restitution_loss((first, second), BATCH.pid)
  np.testing.assert_allclose(parts["snr"], want, rtol=1e-6)
  np.testing.assert_allclose(total, parts["ce"] + 3 * want, rtol=1e-6)
  with pytest.raises(ValueError, match="use norm 'snr'"):
    objective(outputs(), BATCH)


@pytest.mark.parametrize("names", [("ce", "tripplet"), ()])
def test_unknown_or_no_loss(names):
  with pytest.raises(ValueError, match="want some of"):
    objectives.make_objective(names)
