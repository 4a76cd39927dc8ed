"""Many devices compute what one does."""

from __future__ import annotations

import sys

import jax
import numpy as np
import optax
import pytest
import tiny_run

from metabin_jax import default_config, models
from metabin_jax.data.batches import Part
from metabin_jax.errors import UserError
from metabin_jax.methods import (
  classifier_only,
  joint,
  metabin,
  mldg,
  objectives,
  optim,
)
from metabin_jax.methods import state as train_state
from metabin_jax.ops import collectives, restitution_loss
from metabin_jax.runtime import parallel
from metabin_jax.runtime.parallel import RUNNERS, Runner

sys.path.append(str(tiny_run.REPOSITORY / "tests" / "methods"))
import tiny

STEPS = 5
DEVICES = jax.devices()
RATE = optax.constant_schedule(0.05)
WHOLE = Part()
# Rows of a person and of a domain lie on different devices.
ORDER = np.random.default_rng(3).permutation(16)


def batches(step):
  """Base, meta-train and meta-test of 16, 16 and 8 rows."""
  base = tiny.batch(step, (0, 1, 2, 0))
  mtrain = tiny.batch(step + 10, (0, 1, 0, 1))
  mtest = tiny.batch(step + 20, (2, 2))
  return [
    tiny.Batch(*(part[ORDER[part.shape[0] > ORDER]] for part in batch))
    for batch in (base, mtrain, mtest)
  ]


def metabin_step(order, norm="bin"):
  network = tiny.network(norm)
  state, tx, tx_balance = tiny.make_state(norm)
  base = joint.make_base_step(network, tiny.BASE, tx, RATE)
  meta = metabin.make_meta_step(
    network,
    tiny.MTRAIN,
    tiny.MTEST,
    tx_balance,
    RATE,
    second_order=order != "first",
    second_order_by="forward" if order == "forward" else "reverse",
  )
  return state, metabin.make_train_step(base, meta)


def mldg_step(second_order):
  state, tx, tx_balance = tiny.make_state()
  step = mldg.make_meta_step(
    tiny.network(),
    objectives.make_objective(("ce", "triplet")),
    objectives.make_objective(("ce", "triplet")),
    tx,
    RATE,
    tx_balance,
    0.1,
    optax.constant_schedule(0.5),
    second_order=second_order,
    update_statistics=True,
  )
  train_step = mldg.make_train_step(step)
  return state, lambda s, base, mtrain, mtest: train_step(s, mtrain, mtest)


def joint_step(norm):
  state, tx, tx_balance = tiny.make_state(norm)
  rho = {"tx_balance": tx_balance} if jax.tree.leaves(state.balance) else {}
  step = joint.make_base_step(tiny.network(norm), tiny.BASE, tx, RATE, **rho)
  train_step = joint.make_train_step(step)
  return state, lambda s, base, mtrain, mtest: train_step(s, base)


def train(
  made,
  kind="jit",
  count=1,
  moments="global",
  steps=STEPS,
  part=WHOLE,
  make_batches=batches,
):
  """State and metrics after some iterations, of which `part` is read here."""
  state, step = made
  runner = Runner(kind, DEVICES[:count], moments=moments)
  program, state = runner.compile(step), runner.place(state)
  for i in range(steps):
    mine = [
      [np.split(rows, part.count)[part.index] for rows in batch]
      for batch in make_batches(i)
    ]
    whole = [tiny.Batch(*runner.split(rows)) for rows in mine]
    state, metrics = program(state, *whole)
  return jax.device_get((state, metrics))


def assert_near(got, want, rtol=1e-5):
  """Every array to `rtol` of its own largest entry.

  Momenta to ten times that: gradients are differences of large sums.
  """
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True
  ):
    name = jax.tree_util.keystr(path)
    limit = 10 * rtol if "opt_params" in name else rtol
    error = np.abs(np.asarray(a, float) - b).max(initial=0)
    assert error <= limit * np.abs(b).max(initial=0), f"{name}: {error}"


# Made once: one device, one program.
_ONE: dict = {}


def on_one_device(name, make, *args):
  if (name, *args) not in _ONE:
    _ONE[name, *args] = train(make(*args))
  return _ONE[name, *args]


@pytest.mark.parametrize(
  ("kind", "order"),
  [
    *((kind, "reverse") for kind in RUNNERS),
    ("shard_map", "first"),
    pytest.param("jit", "first", marks=pytest.mark.slow),
    pytest.param("pmap", "first", marks=pytest.mark.slow),
    pytest.param("shard_map", "forward", marks=pytest.mark.slow),
  ],
)
def test_metabin_on_eight_devices(kind, order):
  want = on_one_device("metabin", metabin_step, order)
  start = tiny.make_state()[0]
  assert tiny.differs(want[0].balance, start.balance)
  got = train(metabin_step(order), kind, 8)
  assert_near(got, want)


def resnet_iterations(kind, count):
  """Losses and state after two iterations of ResNet-18, in float64.

  In float32 a ReLU or a hardest pair that turns over makes more than 1e-5 of
  the rounding (experiments/benchmarks/README.md, "Devices").
  """
  network = models.create(
    "resnet18", norm="bin", num_classes=6, width=0.125, dtype=np.float64
  )
  tx, tx_balance = optim.make_params_tx(), optax.sgd(0.1)
  start = train_state.create_state(
    models.init_variables(network, jax.random.key(0), 64, 32), tx, tx_balance
  )
  start = jax.tree.map(
    lambda v: v.astype(np.float64) if v.dtype == np.float32 else v, start
  )
  base = joint.make_base_step(network, tiny.BASE, tx, RATE)
  meta = metabin.make_meta_step(
    network, tiny.MTRAIN, tiny.MTEST, tx_balance, RATE, second_order=True
  )

  def enlarged(step):
    return [
      batch._replace(image=np.tile(batch.image, (1, 8, 4, 1)))
      for batch in batches(step)
    ]

  made = start, metabin.make_train_step(base, meta)
  return train(made, kind, count, steps=2, make_batches=enlarged)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", RUNNERS)
def test_a_network_with_corners_on_eight_devices(kind):
  if "resnet" not in _ONE:
    _ONE["resnet"] = resnet_iterations("jit", 1)
  want = _ONE["resnet"]
  assert_near(resnet_iterations(kind, 8), want, rtol=1e-9)


@pytest.mark.parametrize(
  ("second_order", "kind"),
  [(False, "pmap"), pytest.param(True, "shard_map", marks=pytest.mark.slow)],
)
def test_mldg_on_four_devices(second_order, kind):
  want = on_one_device("mldg", mldg_step, second_order)
  got = train(mldg_step(second_order), kind, 4)
  assert_near(got, want)


@pytest.mark.parametrize(
  "norm",
  [
    "switchable",
    pytest.param("bin_half", marks=pytest.mark.slow),
    pytest.param("ibn_a", marks=pytest.mark.slow),
  ],
)
def test_other_arms_under_a_map(norm):
  want = on_one_device("joint", joint_step, norm)
  assert_near(train(joint_step(norm), "shard_map", 4), want)


def staged_step():
  """Two iterations of the classifier alone, then all parameters."""
  state, tx, _ = tiny.make_state("bn")
  network = tiny.network("bn")
  step = classifier_only.make_staged_step(
    classifier_only.make_classifier_step(network, tiny.BASE, tx, RATE),
    joint.make_base_step(network, tiny.BASE, tx, RATE),
    2,
  )
  train_step = joint.make_train_step(step)
  return state, lambda s, base, mtrain, mtest: train_step(s, base)


def test_the_classifier_alone_under_a_map():
  want = on_one_device("staged", staged_step)
  assert_near(train(staged_step(), "shard_map", 4), want)


def test_features_of_the_snr_loss_are_those_of_all_devices():
  """The loss compares rows of persons whose images lie on several devices."""
  random = np.random.default_rng(5)
  batch = tiny.batch(1)
  order = random.permutation(len(batch.pid))
  tree = [
    *(random.random((len(order), 4), np.float32) for _ in range(3)),
    batch.pid[order],
    batch.domain[order],
  ]
  objective = objectives.make_objective(("snr",))

  def loss(rows):
    given, restored, contaminated, pid, domain = rows
    places = (restitution_loss.Pooled(given, restored, contaminated, 0.5),)
    outputs = models.Outputs(given, given, given, places)
    return objective(outputs, tiny.Batch(given, pid, domain))[0]

  want = loss(tree)
  assert want > 0.01
  mesh = jax.sharding.Mesh(np.array(DEVICES[:4]), (collectives.BATCH,))
  spec = jax.sharding.PartitionSpec
  got = jax.jit(
    jax.shard_map(
      loss,
      mesh=mesh,
      in_specs=(spec(collectives.BATCH),),
      out_specs=spec(),
      check_vma=False,
    )
  )(tree)
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_device_moments_differ_and_both_maps_agree():
  want = on_one_device("joint", joint_step, "bin")
  one = train(joint_step("bin"), "shard_map", 4, "device")
  other = train(joint_step("bin"), "pmap", 4, "device")
  assert_near(other, one)
  gap = abs(one[1]["loss/total"] - want[1]["loss/total"])
  assert gap > 1e-3 * want[1]["loss/total"]


def test_running_moments_are_global_in_any_case():
  """The first layer's input does not hang on any other moments."""
  got = train(joint_step("bin"), "shard_map", 4, "device", steps=1)
  want = train(joint_step("bin"), steps=1)
  first = [s.batch_stats["backbone"]["norm0"] for s in (got[0], want[0])]
  assert_near(*first)


def test_one_device_is_bit_identical_to_plain_jit():
  state, step = metabin_step("first")
  program = jax.jit(step)
  for i in range(2):
    state, metrics = program(state, *batches(i))
  got = train(metabin_step("first"), steps=2)
  tiny.assert_same(jax.device_get((state, metrics)), got)


@pytest.mark.parametrize("kind", RUNNERS)
def test_state_is_consumed_and_on_every_device(kind):
  state, step = joint_step("bin")
  runner = Runner(kind, DEVICES[:2])
  placed = runner.place(state)
  after, metrics = runner.compile(step)(placed, *map(runner.split, batches(0)))
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(placed))
  for leaf in jax.tree.leaves((after, metrics)):
    assert leaf.sharding.device_set == set(DEVICES[:2])
    assert leaf.is_fully_replicated


def test_rows_lie_in_order():
  runner = Runner("jit", DEVICES[:4])
  rows = runner.split(np.arange(8))
  held = {s.device: s.data.tolist() for s in rows.addressable_shards}
  assert held == {d: [2 * i, 2 * i + 1] for i, d in enumerate(DEVICES[:4])}


def test_batches_that_cannot_be_shared():
  runner = Runner("jit", DEVICES[:8])
  batches = [(80, "the base batch"), (48, "another"), (32, "the last")]
  runner.check_rows(batches)
  # 5 would do for the first, but not for the others.
  with pytest.raises(
    UserError,
    match="the base batch has 80 images, which 7 devices cannot share "
    r"equally; set parallel\.devices to 4, or change data\.batch_size",
  ):
    Runner("jit", DEVICES[:7]).check_rows(batches)
  with pytest.raises(UserError, match="the last has 12 images, which 8"):
    runner.check_rows([(16, "the base batch"), (12, "the last")])


def test_from_config():
  section = default_config.get_config().parallel
  assert parallel.from_config(section).devices == (DEVICES[0],)
  section.update({"devices": 0, "runner": "pmap"})
  runner = parallel.from_config(section)
  assert (runner.kind, runner.devices) == ("pmap", tuple(DEVICES))
  section.devices = 99
  with pytest.raises(UserError, match="devices is 99, and there are 8"):
    parallel.from_config(section)


def test_programs_refuse_what_they_are_not():
  with pytest.raises(ValueError, match="runner is 'map'"):
    Runner("map")
  with pytest.raises(ValueError, match="moments 'local'"):
    Runner("pmap", moments="local")
  with pytest.raises(ValueError, match="'jit' sees whole batches"):
    Runner("jit", moments="device")
