"""How the configuration reaches MLDG's steps: nothing here is compiled.

As in wiring_test.py: the factories are recorders, and a case says everything
that one key changes.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp
import pytest
import wiring_test as wiring

from metabin_jax import models
from metabin_jax.methods import joint, metabin, mldg, objectives
from metabin_jax.runtime import experiment

MLDG = {"method": "mldg", "model.norm": "bn"}


@pytest.fixture(name="build")
def build_fixture(monkeypatch):
  """build(changes) -> the experiment and all recorders."""

  def build(changes):
    seen = SimpleNamespace()
    with monkeypatch.context() as monkey:
      for name, owner, attribute, result in (
        ("network", models, "create", lambda *a, **k: "network"),
        ("init", models, "init_variables", lambda *a: wiring.VARIABLES),
        ("state", experiment, "create_state", experiment.create_state),
        (
          "objective",
          objectives,
          "make_objective",
          lambda names, **kwargs: SimpleNamespace(names=tuple(names), **kwargs),
        ),
        ("base", joint, "make_base_step", lambda *a, **k: wiring.base_step),
        ("metabin", metabin, "make_meta_step", lambda *a, **k: None),
        ("meta", mldg, "make_meta_step", lambda *a, **k: "meta step"),
        ("both", metabin, "make_train_step", lambda *a: lambda *b: b),
        ("alone", mldg, "make_train_step", lambda *a: lambda *b: b),
      ):
        recorder = wiring.Recorder(result)
        setattr(seen, name, recorder)
        monkey.setattr(owner, attribute, recorder)
      config = wiring.make(MLDG | changes)
      seen.parts = experiment.create_experiment(config, wiring.records())
    return seen

  return build


def effects(seen):
  """Everything that reached the factories, as flat values."""
  network, mtrain, mtest, tx_params, rate, tx_balance, rho_lr, ratio = (
    seen.meta.only.args
  )
  assert network == "network"
  base = seen.base.only
  for one in (mtrain, mtest):
    assert vars(one) | {"names": 0} == vars(base.args[1]) | {"names": 0}
  return {
    **seen.meta.only.kwargs,
    "base names": base.args[1].names,
    "mtrain names": mtrain.names,
    "mtest names": mtest.names,
    "margin": mtrain.margin,
    "params": wiring.params_steps(tx_params, "kernel"),
    "lr": tuple(float(rate(step)) for step in wiring.LR_STEPS),
    "rho": wiring.rho_step(tx_balance),
    "rho_lr": rho_lr,
    "ratio": tuple(float(ratio(step)) for step in wiring.BETA_STEPS),
    "base rho": wiring.rho_step(base.kwargs["tx_balance"]),
    "base bias": base.kwargs["bias_factor"],
    "meta domains": meta_domains(seen.parts.plan),
    "first_base_updates": seen.parts.plan.first_base_updates,
  }


def meta_domains(plan):
  """How many domains are meta-train."""
  return len(set(plan.pool.domain[plan.meta(0).mtrain].tolist()))


DEFAULT = {
  "second_order": False,
  "combined": True,
  "update_statistics": False,
  "bias_factor": 2.0,
  "classifier_factor": 1.0,
  "base names": ("ce", "triplet"),
  "mtrain names": ("shuffle", "triplet", "scatter"),
  "mtest names": ("triplet",),
  "margin": 0.3,
  "params": (1.001, 1.9 * 1.001),
  "lr": wiring.lr(),
  "rho": (-0.1, -0.1),
  "rho_lr": 0.1,
  "ratio": wiring.beta(scale=1.0),
  "base rho": None,
  "base bias": 2.0,
  "meta domains": 3,
  "first_base_updates": 10,
}
COMPUTED = ("lr", "ratio", "params", "rho", "base rho")  # in float32
RHO = {"model.norm": "bin", "optim.joint_rho": True}


@pytest.mark.parametrize(
  ("changes", "changed"),
  [
    ({}, {}),
    ({"meta.combined": False}, {"combined": False}),
    (
      {"meta.base_step": False},
      {"update_statistics": True, "first_base_updates": 1},
    ),
    ({"meta.second_order": True}, {"second_order": True}),
    ({"meta.num_mtrain": 2}, {"meta domains": 2}),
    ({"meta.first_base_updates": 4}, {"first_base_updates": 4}),
    ({"meta.beta_times_rho_lr": False}, {}),
    ({"meta.beta_fixed": 0.25}, {"ratio": (0.25,) * 3}),
    (
      {"meta.beta_low": 0.05},
      {"ratio": wiring.beta(low=0.05, scale=1.0)},
    ),
    (
      {"meta.beta_high": 0.4},
      {"ratio": wiring.beta(high=0.4, scale=1.0)},
    ),
    (
      {"meta.beta_period_epochs": 0.5},
      {"ratio": wiring.beta(scale=1.0, up=2)},
    ),
    ({"loss.base": ("ce",)}, {"base names": ("ce",)}),
    ({"loss.mtrain": ("ce",)}, {"mtrain names": ("ce",)}),
    ({"loss.mtest": ("ce",)}, {"mtest names": ("ce",)}),
    ({"loss.margin": 0.7}, {"margin": 0.7}),
    ({"optim.lr": 0.5}, {"lr": wiring.lr(peak=0.5)}),
    ({"optim.momentum": 0.5}, {"params": (1.001, 1.5 * 1.001)}),
    ({"optim.bias_factor": 3.0}, {"bias_factor": 3.0, "base bias": 3.0}),
    ({"optim.classifier_factor": 3.0}, {"classifier_factor": 3.0}),
    ({"optim.rho_lr": 0.3}, {"rho": (-0.3, -0.3), "rho_lr": 0.3}),
    (RHO, {"base rho": (-0.1, -0.1)}),
  ],
)
def test_what_reaches_the_steps(build, changes, changed):
  got, want = effects(build(changes)), DEFAULT | changed
  assert got.keys() == want.keys()
  for name, value in want.items():
    if name in COMPUTED and value is not None:
      value = pytest.approx(value, rel=1e-4)
    assert got[name] == value, name


def test_one_state_and_two_steps(build):
  seen = build({})
  assert not seen.metabin.calls
  assert not seen.alone.calls
  assert seen.both.only.args == (wiring.base_step, "meta step")
  batch = SimpleNamespace(base=[1, 2], mtrain=3, mtest=4)
  got = seen.parts.train_step(jnp.asarray(0), batch)
  assert list(map(int, got)) == [0, 2, 3, 4]
  assert int(seen.parts.base_step(jnp.asarray(3), jnp.asarray(4))[0]) == 7
  # Optimizers and the schedule are those of the base step and the state.
  variables, tx_params, tx_balance = seen.state.only.args
  assert variables is wiring.VARIABLES
  assert seen.base.only.args[2] is seen.meta.only.args[3] is tx_params
  assert seen.base.only.args[3] is seen.meta.only.args[4]
  assert seen.meta.only.args[5] is tx_balance


def test_without_base_step(build):
  seen = build({"meta.base_step": False})
  assert not seen.both.calls
  assert seen.alone.only.args == ("meta step",)
  batch = SimpleNamespace(base=[1], mtrain=3, mtest=4)
  got = seen.parts.train_step(jnp.asarray(0), batch)
  assert list(map(int, got)) == [0, 3, 4]
  # No base update comes before it either: the loop makes all but the last.
  draws = seen.parts.plan.draws(0)
  assert [draw.stream for draw in draws] == ["base", "meta"]


def test_batches_are_those_of_metabin(build):
  ours = build({}).parts.plan
  theirs = experiment.create_plan(wiring.make({}), wiring.records())
  for step in range(3):
    for one, other in zip(ours.draws(step), theirs.draws(step), strict=True):
      assert one.rows.tolist() == other.rows.tolist()
      assert one.num_mtrain == other.num_mtrain
