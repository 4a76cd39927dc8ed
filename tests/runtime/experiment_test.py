"""What an experiment is built of."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
import tiny_run

from metabin_jax import default_config
from metabin_jax.data import array_source, readers
from metabin_jax.errors import UserError
from metabin_jax.runtime import experiment, resolve

JOINT = {"method": "joint", "model.norm": "bn"}


def make(**changes):
  config = default_config.get_config()
  tiny = {
    "model.backbone": "resnet18",
    "model.width": 0.125,
    "data.height_px": 32,
    "data.width_px": 16,
    "data.batch_size": 12,
    "data.instances": 2,
    "meta.num_mtrain": 2,
    "meta.first_base_updates": 3,
  }
  config.update_from_flattened_dict(tiny | changes)
  return resolve.resolve(config)


@pytest.fixture(name="records", scope="module")
def records_fixture():
  return readers.open_dataset(f"manifest:{tiny_run.root()}/train.csv").train


@pytest.mark.parametrize("sampler", ["identity", "balanced"])
def test_a_baseline_draws_the_same_base_batches(records, sampler):
  ours = experiment.create_plan(make(**{"data.sampler": sampler}), records)
  theirs = experiment.create_plan(
    make(**JOINT, **{"data.sampler": sampler}), records
  )
  other = experiment.create_plan(
    make(**{"data.sampler": sampler, "train.seed": 1}), records
  )
  differ = False
  for step in range(8):
    *base, meta = ours.draws(step)
    assert meta.stream == "meta"
    baseline = theirs.draws(step)
    assert len(base) == len(baseline) == (3 if step == 0 else 1)
    for one, two, three in zip(base, baseline, other.draws(step), strict=False):
      assert one.stream == two.stream == "base"
      assert one.number == two.number
      np.testing.assert_array_equal(one.rows, two.rows)
      differ |= bool((one.rows != three.rows).any())
  assert differ


def test_a_baseline_sees_the_same_pixels(records):
  def read(config):
    plan = experiment.create_plan(config, records)
    source = array_source.ArraySource(plan, workers=2)
    return [item.base for item in source.iterate(0, 3)]

  for ours, theirs in zip(read(make()), read(make(**JOINT)), strict=True):
    for one, two in zip(ours, theirs, strict=True):
      assert one.image.dtype == np.uint8
      assert one.image.tobytes() == two.image.tobytes()
      assert one.pid.tobytes() == two.pid.tobytes()
      assert one.domain.tobytes() == two.domain.tobytes()


def test_horizon_and_state(records):
  parts = experiment.create_experiment(
    make(**JOINT, **{"train.epochs": 2.5, "train.steps_per_epoch": 4}), records
  )
  assert parts.horizon == (4, 10, 4)
  assert int(parts.state.step) == 0
  # Person heads for twelve persons; batch norm has no rho.
  assert parts.state.params["classifier"].shape[-1] == 12
  assert not jax.tree.leaves(parts.state.balance)


def test_horizon_counts_images_unless_told(records):
  # 12 persons of 3 images, rounded up to 4: 48 images, 4 batches, less one.
  parts = experiment.create_experiment(make(**JOINT), records)
  assert parts.horizon == (3, 300, 3)
  parts = experiment.create_experiment(
    make(**JOINT, **{"train.steps": 7, "train.checkpoint_every_steps": 2}),
    records,
  )
  assert parts.horizon == (3, 7, 2)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"data.batch_size": 13}, "13 does not"),
    ({"data.batch_size": 14}, "14 does not divide into 3 domains"),
    ({"data.instances": 1}, "1 images a person"),
    ({"meta.num_mtrain": 3}, "3 meta-train domains do not fit 3 domains"),
    ({"data.flip_prob": 1.5}, "flip_prob is 1.5"),
    (
      {"model.backbone": "mobilenetv2", "model.width": 0.01},
      r"mobilenetv2 of model\.width 0\.01 cannot be built for 32x16",
    ),
  ],
)
def test_what_does_not_fit_is_a_mistake_of_the_user(records, changes, message):
  with pytest.raises(UserError, match=message):
    experiment.create_experiment(make(**changes), records)


def test_fingerprint_is_of_labels_and_their_order(records):
  one = experiment.fingerprint(records)
  moved = [dataclasses.replace(r, path="/x" + r.path) for r in records]
  assert experiment.fingerprint(moved) == one
  assert experiment.fingerprint(records[::-1]) != one
  named = experiment.fingerprint(records, names=True)
  assert experiment.fingerprint(moved, names=True) == named != one
  for field, value in (("pid", "z"), ("camid", 99), ("domain", "z")):
    changed = [dataclasses.replace(records[0], **{field: value}), *records[1:]]
    assert experiment.fingerprint(changed) != one
