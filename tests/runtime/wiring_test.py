"""How the configuration reaches the steps: nothing here is compiled.

The factories that `experiment` calls are replaced by recorders; what they were
given is turned into a flat table of effects. Each case changes one key, and
every effect that it does not name must stay as it was.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metabin_jax import default_config, models
from metabin_jax.data import batches
from metabin_jax.data.batches import Part
from metabin_jax.data.records import DataSet, Fold, Record
from metabin_jax.evaluation import evaluate
from metabin_jax.evaluation.settings import Settings
from metabin_jax.methods import classifier_only, joint, metabin, objectives
from metabin_jax.runtime import experiment, resolve, scoring

# Epochs of 8 iterations; four domains, so that the default of three meta-train
# domains fits. All other keys have their defaults.
SMALL = {
  "data.batch_size": 32,
  "data.instances": 2,
  "train.steps_per_epoch": 8,
}
LR_STEPS = (0, 16, 40, 80, 319, 320, 560)
BETA_STEPS = (0, 3, 20)
VARIABLES = {
  "params": {"conv": {"kernel": np.full(2, 2, np.float32)}},
  "balance": {"norm": {"rho": np.ones(2, np.float32)}},
  "batch_stats": {},
}


def make(changes):
  config = default_config.get_config()
  config.update_from_flattened_dict(SMALL | changes)
  return resolve.resolve(config)


def records():
  return [
    Record(f"/none/{domain}{person}{image}.png", f"{domain}{person}", 0, domain)
    for domain in "abcd"
    for person in range(4)
    for image in range(3)
  ]


class Recorder:
  """Stands for a factory: keeps its arguments, gives what `result` makes."""

  def __init__(self, result):
    self.result = result
    self.calls = []

  def __call__(self, *args, **kwargs):
    self.calls.append(SimpleNamespace(args=args, kwargs=kwargs))
    return self.result(*args, **kwargs)

  @property
  def only(self):
    (call,) = self.calls
    return call


@pytest.fixture(name="build")
def build_fixture(monkeypatch):
  """build(changes) -> the experiment and all recorders."""

  def build(changes):
    seen = SimpleNamespace()
    with monkeypatch.context() as monkey:
      for name, owner, attribute, result in (
        ("network", models, "create", lambda *a, **k: "network"),
        ("init", models, "init_variables", lambda *a: VARIABLES),
        ("plan", batches, "make_batch_plan", batches.make_batch_plan),
        ("sgd", optax, "sgd", optax.sgd),
        ("state", experiment, "create_state", experiment.create_state),
        (
          "objective",
          objectives,
          "make_objective",
          lambda names, **kwargs: SimpleNamespace(names=tuple(names), **kwargs),
        ),
        ("base", joint, "make_base_step", lambda *a, **k: base_step),
        ("joint", joint, "make_train_step", lambda step: joint_step),
        ("meta", metabin, "make_meta_step", lambda *a, **k: "meta step"),
        (
          "metabin",
          metabin,
          "make_train_step",
          lambda *a: lambda *state_and_batches: state_and_batches,
        ),
      ):
        recorder = Recorder(result)
        setattr(seen, name, recorder)
        monkey.setattr(owner, attribute, recorder)
      seen.parts = experiment.create_experiment(make(changes), records())
    return seen

  return build


def base_step(state, batch):
  return state + batch, {}


def joint_step(state, batch):
  return state + 10 * batch, {}


def rho_step(tx):
  """What a unit gradient does to rho, at the first and the second update."""
  if tx is None:
    return None
  one = jnp.ones(())
  state = tx.init(one)
  first, state = tx.update(one, state, one)
  second, _ = tx.update(one, state, one)
  return float(first), float(second)


def params_steps(tx, name):
  """Updates of a weight of 2 by a unit gradient, the first and the second."""
  weight, one = {name: jnp.asarray(2.0)}, {name: jnp.ones(())}
  state = tx.init(weight)
  first, state = tx.update(one, state, weight)
  second, _ = tx.update(one, state, weight)
  return float(first[name]), float(second[name])


def both(*steps):
  """The same of a kernel and of a norm layer's scale."""
  return {"params": steps, "norm params": steps}


def effects(seen):
  """Everything that reached the factories, as flat values."""
  _, base_objective, tx_params, rate = seen.base.only.args
  kwargs = seen.base.only.kwargs
  found = {
    "network": network(*seen.network.only.args, **seen.network.only.kwargs),
    "init seed": tuple(jax.random.key_data(seen.init.only.args[1]).tolist()),
    "init size": seen.init.only.args[2:],
    "base names": base_objective.names,
    "lr": tuple(float(rate(step)) for step in LR_STEPS),
    "params": params_steps(tx_params, "kernel"),
    "norm params": params_steps(tx_params, "bn_scale"),
    "base rho": rho_step(kwargs["tx_balance"]),
    "bias": kwargs["bias_factor"],
    "classifier": kwargs["classifier_factor"],
  }
  used = {"base": base_objective}
  if seen.meta.calls:
    _, mtrain, mtest, tx_balance, beta = seen.meta.only.args
    found |= {
      "mtrain names": mtrain.names,
      "mtest names": mtest.names,
      "rho": rho_step(tx_balance),
      "beta": tuple(float(beta(step)) for step in BETA_STEPS),
      "second order": seen.meta.only.kwargs["second_order"],
      "second order by": seen.meta.only.kwargs["second_order_by"],
    }
    used |= {"mtrain": mtrain, "mtest": mtest}
  options = [
    {k: v for k, v in vars(one).items() if k != "names"}
    for one in used.values()
  ]
  assert all(one == options[0] for one in options), "the losses disagree"
  assert set(options[0]) == {
    "weights",
    "margin",
    "smoothing",
    "smoothing_spread",
    "scatter_normalize",
    "part_reduction",
  }
  plan = dict(seen.plan.only.kwargs)
  look = plan.pop("augmentation")
  found |= options[0] | plan
  found["augmentation"] = (
    look.flip_prob,
    look.pad_px,
    look.jitter,
    look.erasing_prob,
  )
  runner = seen.parts.runner
  found["runner"] = (runner.kind, len(runner.devices), runner.moments)
  return found


def network(
  name="mobilenetv2",
  norm="bin",
  width=1.4,
  last_stride=1,
  dtype=np.float32,
  remat=False,
  heads="none",
  parts=6,
  neck="batch_norm",
  last_relu=True,
  **more,
):
  return {
    "name": name,
    "norm": norm,
    "width": width,
    "last_stride": last_stride,
    "dtype": dtype,
    "remat": remat,
    "heads": heads,
    "parts": parts,
    "neck": neck,
    "last_relu": last_relu,
    **more,
  }


def lr(
  peak=0.01, start=0.01, warmup=80, milestones=(320, 560), decay=0.1
) -> tuple[float, ...]:
  """The learning rate at LR_STEPS, by hand."""
  return tuple(
    peak
    * (start + (1 - start) * step / warmup if step < warmup else 1)
    * decay ** sum(step >= m for m in milestones)
    for step in LR_STEPS
  )


def cosine(epochs=100) -> tuple[float, ...]:
  """The cosine schedule at LR_STEPS, by hand: epochs of 8 iterations."""
  rise = lr(milestones=(), decay=1)
  return tuple(
    factor * (1 + math.cos(math.pi * step / (8 * epochs))) / 2
    for factor, step in zip(rise, LR_STEPS, strict=True)
  )


def beta(low=0.001, high=0.1, scale=0.1, up=20) -> tuple[float, ...]:
  """The inner step size at BETA_STEPS, by hand: one step ahead."""
  return tuple(
    scale * (low + (high - low) * (1 - abs((step + 1) % (2 * up) / up - 1)))
    for step in BETA_STEPS
  )


WEIGHTS = dict.fromkeys(("ce", "triplet", "shuffle", "scatter", "snr"), 1.0)
WEIGHTS |= {"position": 0.1, "match": 0.1}
DEFAULT = {
  "network": network(num_classes=16),
  "init seed": (0, 2020),
  "init size": (256, 128),
  "base names": ("ce", "triplet"),
  "mtrain names": ("shuffle", "triplet", "scatter"),
  "mtest names": ("triplet",),
  "weights": WEIGHTS,
  "margin": 0.3,
  "smoothing": 0.1,
  "smoothing_spread": "others",
  "scatter_normalize": True,
  "part_reduction": "sum",
  "lr": lr(),
  **both(1.001, 1.9 * 1.001),
  "base rho": None,
  "bias": 2.0,
  "classifier": 1.0,
  "rho": (-0.1, -0.1),
  "beta": beta(),
  "second order": False,
  "second order by": "reverse",
  "batch_size": 32,
  "instances": 2,
  "seed": 2020,
  "num_mtrain": 3,
  "height": 256,
  "width": 128,
  "first_base_updates": 10,
  "balanced": False,
  "shuffled": False,
  "augmentation": (0.5, 10, False, 0.0),
  "part": Part(0, 1),
  "unlabelled": (),
  "unlabelled_size": 184,
  "runner": ("jit", 1, "global"),
}
COMPUTED = (
  "lr",
  "beta",
  "params",
  "norm params",
  "rho",
  "base rho",
)  # in float32
FIXED = (0.02,) * 3
CASES = [
  ("meta.beta_times_rho_lr", False, {"beta": beta(scale=1.0)}),
  ("meta.beta_fixed", 0.2, {"beta": FIXED}),
  ("meta.beta_low", 0.05, {"beta": beta(low=0.05)}),
  ("meta.beta_high", 0.4, {"beta": beta(high=0.4)}),
  ("meta.beta_period_epochs", 0.5, {"beta": beta(up=2)}),
  ("meta.beta_period_epochs", 0.125, {"beta": beta(up=1)}),  # at least 2 steps
  ("meta.second_order", True, {"second order": True}),
  ("meta.second_order_by", "forward", {"second order by": "forward"}),
  ("meta.num_mtrain", 2, {"num_mtrain": 2}),
  ("meta.first_base_updates", 4, {"first_base_updates": 4}),
  ("parallel.runner", "pmap", {"runner": ("pmap", 1, "global")}),
  ("parallel.devices", 4, {"runner": ("jit", 4, "global")}),
  ("parallel.devices", 0, {"runner": ("jit", 8, "global")}),
  ("loss.base", ("ce",), {"base names": ("ce",)}),
  ("loss.mtrain", ("scatter",), {"mtrain names": ("scatter",)}),
  ("loss.mtest", ("ce", "shuffle"), {"mtest names": ("ce", "shuffle")}),
  *(
    (f"loss.weights.{name}", 0.25, {"weights": WEIGHTS | {name: 0.25}})
    for name in WEIGHTS
  ),
  ("loss.margin", 0.7, {"margin": 0.7}),
  ("loss.smoothing", 0.2, {"smoothing": 0.2}),
  ("loss.smoothing_spread", "all", {"smoothing_spread": "all"}),
  ("loss.scatter_normalize", False, {"scatter_normalize": False}),
  ("loss.part_reduction", "mean", {"part_reduction": "mean"}),
  ("optim.lr", 0.5, {"lr": lr(peak=0.5)}),
  ("optim.warmup_factor", 0.3, {"lr": lr(start=0.3)}),
  ("optim.warmup_epochs", 4.0, {"lr": lr(warmup=32)}),
  ("optim.warmup_epochs", 0.0, {"lr": lr(warmup=0)}),
  ("optim.milestones_epochs", (2.0, 5.0), {"lr": lr(milestones=(16, 40))}),
  ("optim.milestones_epochs", (), {"lr": lr(milestones=())}),
  ("optim.decay", 0.5, {"lr": lr(decay=0.5)}),
  ("optim.bias_factor", 3.0, {"bias": 3.0}),
  ("optim.classifier_factor", 3.0, {"classifier": 3.0}),
  # Gradients of 1.001.
  ("optim.optimizer", "adam", both(1.0, 1.0)),
  ("optim.optimizer", "amsgrad", both(1.0, 1.0)),
  ("optim.nesterov", True, both(1.9 * 1.001, 2.71 * 1.001)),
  ("optim.schedule", "cosine", {"lr": cosine()}),
  ("optim.momentum", 0.5, both(1.001, 1.5 * 1.001)),
  ("optim.weight_decay", 0.25, both(1.5, 1.9 * 1.5)),
  ("optim.decay_norms", False, {"norm params": (1.0, 1.9)}),
  ("optim.rho_lr", 0.3, {"rho": (-0.3, -0.3), "beta": beta(scale=0.3)}),
  ("data.height_px", 64, {"height": 64, "init size": (64, 128)}),
  ("data.width_px", 32, {"width": 32, "init size": (256, 32)}),
  ("data.batch_size", 24, {"batch_size": 24}),
  ("data.instances", 4, {"instances": 4}),
  ("data.sampler", "balanced", {"balanced": True}),
  ("data.flip_prob", 0.25, {"augmentation": (0.25, 10, False, 0.0)}),
  ("data.pad_px", 3, {"augmentation": (0.5, 3, False, 0.0)}),
  ("data.jitter", True, {"augmentation": (0.5, 10, True, 0.0)}),
  ("data.erasing_prob", 0.75, {"augmentation": (0.5, 10, False, 0.75)}),
  ("train.seed", 7, {"seed": 7, "init seed": (0, 7)}),
  *(
    (f"model.{key}", value, {"network": network(num_classes=16, **changed)})
    for key, value, changed in (
      ("backbone", "resnet50", {"name": "resnet50"}),
      ("norm", "bin_shared", {"norm": "bin_shared"}),
      ("width", 0.5, {"width": 0.5}),
      ("last_stride", 2, {"last_stride": 2}),
      ("heads", "bnta", {"heads": "bnta"}),
      ("parts", 4, {"parts": 4}),
      ("neck", "none", {"neck": "none"}),
      ("last_relu", False, {"last_relu": False}),
      ("dtype", "bfloat16", {"dtype": jnp.dtype("bfloat16").type}),
      ("remat", True, {"remat": True}),
    )
  ),
]


def assert_effects(got, want):
  assert got.keys() == want.keys()
  for name, value in want.items():
    if name in COMPUTED and value is not None:
      value = pytest.approx(value, rel=1e-4)
    assert got[name] == value, name


def test_defaults(build):
  assert_effects(effects(build({})), DEFAULT)


@pytest.mark.parametrize(("key", "value", "changed"), CASES)
def test_one_key(build, key, value, changed):
  assert_effects(effects(build({key: value})), DEFAULT | changed)


def test_every_key_of_the_steps_has_a_case():
  config = default_config.get_config()
  sections = ("model", "loss", "optim", "meta", "parallel")
  keys = {
    f"{section}.{name}"
    for section in sections
    for name in config[section]
    if name != "weights"
  } | {f"loss.weights.{name}" for name in config.loss.weights}
  covered = {key for key, _, _ in CASES if key.split(".")[0] in sections}
  # Tests of their own: only method "joint" has the first two, only "mldg" the
  # next two (mldg_wiring_test.py), the next needs another runner, and the last
  # three are read before anything is bound (plugins_test.py,
  # cli/convert_command_test.py, cli/mar_command_test.py).
  alone = {"optim.joint_rho", "optim.classifier_only_epochs"}
  alone |= {"meta.combined", "meta.base_step", "parallel.batch_moments"}
  before = {"model.plugins", "model.pretrained", "model.pretrained_classifier"}
  assert covered | alone | before == keys


def test_device_moments(build):
  changes = {"parallel.runner": "shard_map", "parallel.devices": 2}
  seen = build(changes | {"parallel.batch_moments": "device"})
  want = DEFAULT | {"runner": ("shard_map", 2, "device")}
  assert_effects(effects(seen), want)


@pytest.mark.parametrize("scale", [True, False])
def test_fixed_beta_is_scaled_like_the_cycle(build, scale):
  seen = build({"meta.beta_fixed": 0.2, "meta.beta_times_rho_lr": scale})
  want = DEFAULT | {"beta": (0.02 if scale else 0.2,) * 3}
  assert_effects(effects(seen), want)


def test_unscaled_beta_is_free_of_the_rate_of_rho(build):
  seen = build({"meta.beta_times_rho_lr": False, "optim.rho_lr": 0.3})
  want = DEFAULT | {"beta": beta(scale=1.0), "rho": (-0.3, -0.3)}
  assert_effects(effects(seen), want)


PAPER = {
  "beta": beta(scale=1.0),
  "first_base_updates": 1,
  "balanced": True,
  "lr": lr(start=0.1),
  "smoothing_spread": "all",
  "scatter_normalize": False,
}


@pytest.mark.parametrize(
  ("preset", "changed"), [("released", {}), ("paper", PAPER)]
)
def test_presets_as_a_whole(build, preset, changed):
  assert len(default_config.PRESETS[preset]) == len(PAPER)
  assert_effects(effects(build({"preset": preset})), DEFAULT | changed)


META_ONLY = (
  "mtrain names",
  "mtest names",
  "rho",
  "beta",
  "second order",
  "second order by",
)


@pytest.mark.parametrize(
  ("changes", "base_rho"),
  [
    ({}, None),
    ({"optim.joint_rho": True}, (-0.1, -0.1)),
    ({"optim.joint_rho": True, "optim.rho_lr": 0.3}, (-0.3, -0.3)),
  ],
)
def test_joint_has_no_meta_step(build, changes, base_rho):
  seen = build({"method": "joint"} | changes)
  want = {k: v for k, v in DEFAULT.items() if k not in META_ONLY}
  want |= {"base rho": base_rho, "num_mtrain": None}
  assert_effects(effects(seen), want)
  assert not seen.meta.calls
  assert not seen.metabin.calls
  assert seen.joint.only.args == (base_step,)
  assert seen.parts.plan.meta is None
  batch = SimpleNamespace(base=[jnp.asarray(1), jnp.asarray(2)])
  assert int(seen.parts.train_step(jnp.asarray(100), batch)[0]) == 120
  assert int(seen.parts.base_step(jnp.asarray(100), batch.base[0])[0]) == 101


def test_cosine_ends_with_the_epochs_not_the_steps(build):
  changes = {"optim.schedule": "cosine", "train.epochs": 80.0}
  seen = build(changes | {"train.steps": 7})
  assert_effects(effects(seen), DEFAULT | {"lr": cosine(80)})


def test_shuffled_batches_and_their_epoch(build):
  changes = {
    "method": "joint",
    "data.sampler": "shuffle",
    "data.batch_size": 7,
    "loss.base": ("ce",),
  }
  seen = build(changes)
  want = {k: v for k, v in DEFAULT.items() if k not in META_ONLY}
  want |= {"shuffled": True, "batch_size": 7, "base names": ("ce",)}
  assert_effects(effects(seen), want | {"num_mtrain": None})
  # 48 images, 6 batches of 7.
  seen = build(changes | {"train.steps_per_epoch": 0})
  assert seen.parts.horizon == (6, 600, 6)


def test_the_classifier_alone_at_first(build, monkeypatch):
  alone = Recorder(lambda *a, **k: "classifier step")
  staged = Recorder(lambda *a: joint_step)
  monkeypatch.setattr(classifier_only, "make_classifier_step", alone)
  monkeypatch.setattr(classifier_only, "make_staged_step", staged)
  seen = build({"method": "joint"})
  assert not staged.calls
  seen = build(
    {
      "method": "joint",
      "optim.classifier_only_epochs": 2.5,
      "optim.classifier_factor": 3.0,
    }
  )
  assert staged.only.args == ("classifier step", base_step, 20)
  network, objective, tx_params, rate = alone.only.args
  assert (network, tx_params) == ("network", seen.base.only.args[2])
  assert rate is seen.base.only.args[3]
  assert objective.names == ("ce", "triplet")
  assert alone.only.kwargs == {"bias_factor": 2.0, "classifier_factor": 3.0}
  # Both the base step of iteration 0 and the later ones are staged.
  assert seen.joint.only.args == (joint_step,)
  assert int(seen.parts.base_step(jnp.asarray(1), jnp.asarray(2))[0]) == 21


def test_metabin_binds_both_steps_and_one_state(build):
  seen = build({})
  assert not seen.joint.calls
  assert seen.metabin.only.args == (base_step, "meta step")
  batch = SimpleNamespace(base=[1, 2], mtrain=3, mtest=4)
  got = seen.parts.train_step(jnp.asarray(0), batch)
  assert list(map(int, got)) == [0, 2, 3, 4]
  assert int(seen.parts.base_step(jnp.asarray(3), jnp.asarray(4))[0]) == 7
  # Optimizers of the steps are those that the state was made for.
  variables, tx_params, tx_balance = seen.state.only.args
  assert variables is VARIABLES
  assert seen.base.only.args[2] is tx_params
  assert seen.meta.only.args[3] is tx_balance
  networks = (seen.base.only.args, seen.meta.only.args, seen.init.only.args)
  assert [args[0] for args in networks] == ["network"] * 3
  assert seen.parts.plan.first_base_updates == 10
  assert seen.parts.plan.seed == 2020
  assert seen.parts.plan.meta is not None


@pytest.fixture(name="asked")
def asked_fixture(monkeypatch):
  """asked(changes) -> settings of `rank_folds`, what the embedder got."""

  def ask(changes):
    ranked = SimpleNamespace(ranking="ranking")
    recorder = Recorder(lambda *a, **k: iter([ranked]))
    monkeypatch.setattr(evaluate, "rank_folds", recorder)
    summarize = Recorder(lambda *a, **k: {"mAP": 0.5})
    monkeypatch.setattr(scoring.summary, "summarize", summarize)
    embedder = Recorder(lambda *a, **k: None)
    monkeypatch.setattr(scoring.extract, "make_embedder", embedder)
    fold = Fold("only", (), ())
    found = scoring.score(
      make(changes), "network", {}, [DataSet("x", folds=(fold,))]
    )
    assert found == {"x": {"mAP": 0.5, "mAP/std": 0.0, "folds": 1}}
    folds, _, settings = recorder.only.args
    assert summarize.only.args == ("ranking", settings.ranks)
    assert folds == (fold,)
    made = {"batch": embedder.only.args[2], **embedder.only.kwargs}
    return settings, made

  return ask


@pytest.mark.parametrize(
  ("changes", "changed"),
  [
    ({}, {}),
    ({"eval.metric": "euclidean"}, {"metric": "euclidean"}),
    ({"eval.ranks": (2, 3)}, {"ranks": (2, 3)}),
    ({"eval.cross_camera": False}, {"cross_camera": False}),
    ({"eval.ap": "mar"}, {"ap": "mar"}),
    ({"eval.fprs": (0.1,)}, {"fprs": (0.1,)}),
    ({"eval.rerank": True}, {"rerank": True}),
    ({"eval.rerank_k1": 9}, {"rerank_k1": 9}),
    ({"eval.rerank_k2": 9}, {"rerank_k2": 9}),
    ({"eval.rerank_lambda": 0.9}, {"rerank_lambda": 0.9}),
    ({"eval.query_expansion": 9}, {"query_expansion": 9}),
    ({"eval.place": "device"}, {"place": "device"}),
  ],
)
def test_scoring(asked, changes, changed):
  settings, made = asked(changes)
  assert settings == Settings()._replace(**changed)
  assert made == {
    "batch": 128,
    "flip": False,
    "devices": jax.local_devices()[:1],
  }


def test_embedding(asked):
  settings, made = asked(
    {"eval.batch_size": 9, "eval.flip": True, "parallel.devices": 3}
  )
  assert settings == Settings(flip=True)
  assert made == {
    "batch": 9,
    "flip": True,
    "devices": jax.local_devices()[:3],
  }
  _, made = asked({"parallel.devices": 0})
  assert made["devices"] == jax.local_devices()
