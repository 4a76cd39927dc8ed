"""How the section `mar` reaches the step: nothing is compiled."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from metabin_jax import default_config
from metabin_jax.data.records import Record
from metabin_jax.errors import UserError
from metabin_jax.methods import mar
from metabin_jax.runtime import experiment, resolve

SMALL = {
  "method": "mar",
  "model.backbone": "resnet18",
  "model.width": 0.125,
  "model.norm": "bn",
  "model.neck": "none",
  "data.sampler": "shuffle",
  "loss.base": ("ce",),
  "data.batch_size": 8,
  "data.unlabelled": ("manifest:site.csv",),
  "mar.batch_size": 6,
  "train.steps_per_epoch": 8,
}


def make(**changes):
  config = default_config.get_config()
  config.update_from_flattened_dict(
    SMALL | {key.replace("__", "."): v for key, v in changes.items()}
  )
  return resolve.resolve(config)


def records(prefix, cameras):
  return [
    Record(
      f"/none/{prefix}{person}{camera}.png", f"{prefix}{person}", camera, prefix
    )
    for person in range(5)
    for camera in range(cameras)
  ]


def build(monkeypatch, **changes):
  """What `make_train_step` and the train step were given, and the parts."""
  seen = {}

  def bind(network, tx, rate, rules, **options):
    seen.update(rules=rules, **options)
    return lambda state, source, target: (state, (source, target))

  monkeypatch.setattr(mar, "make_train_step", bind)
  parts = experiment.create_experiment(
    make(**changes), records("a", 3), unlabelled=records("x", 4)
  )
  return seen, parts


def test_defaults_are_those_of_the_code(monkeypatch):
  seen, parts = build(monkeypatch)
  # Of both halves, over 10,000.
  assert seen["rules"] == mar.Rules()._replace(center_momentum=14 / 10_000)
  assert seen["num_views"] == 4
  assert seen["first_mining_step"] == 8
  memory = parts.state.memory
  assert memory.multilabels.shape == (64, 5)
  assert not np.any(jax.device_get(memory.seen))


@pytest.mark.parametrize(
  ("key", "value", "effect"),
  [
    ("ratio", 0.1, ("ratio", 0.1)),
    ("view_weight", 0.5, ("view_weight", 0.5)),
    ("source_weight", 3.0, ("source_weight", 3.0)),
    ("joint_weight", 0.7, ("joint_weight", 0.7)),
    ("scale", 10.0, ("scale", 10.0)),
    ("margin", 0.5, ("margin", 0.5)),
    ("center_momentum", 0.25, ("center_momentum", 0.25)),
    ("label_momentum", 0.5, ("label_momentum", 0.5)),
    ("threshold_momentum", 0.3, ("threshold_momentum", 0.3)),
    ("joint_form", "paper", ("joint_form", "paper")),
    ("view_reduction", "sum", ("view_reduction", "sum")),
    ("batch_size", 10, ("center_momentum", 18 / 10_000)),
    ("first_mining_epochs", 2.0, None),
  ],
)
def test_one_key(monkeypatch, key, value, effect):
  seen, parts = build(monkeypatch, **{f"mar__{key}": value})
  wanted = mar.Rules()._replace(center_momentum=14 / 10_000)
  if effect is not None:
    wanted = wanted._replace(**dict([effect]))
  assert seen["rules"] == wanted
  assert seen["first_mining_step"] == (16 if effect is None else 8)
  draws = parts.plan.draws(0)
  assert [draw.stream for draw in draws] == ["base", "unlabelled"]
  assert len(draws[1].rows) == (value if key == "batch_size" else 6)


def test_every_key_has_a_case():
  section = default_config.get_config().mar
  cases = test_one_key.pytestmark[0].args[1]
  assert {case[0] for case in cases} == set(section)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"model__neck": "batch_norm"}, "set it to 'none'"),
    ({"method": "joint", "loss__base": ("ce",)}, "is for method 'mar'"),
    ({"loss__base": ("ce", "triplet")}, r"set it to \('ce',\)"),
    ({"loss__base": ("triplet",)}, r"set it to \('ce',\)"),
    ({"model__heads": "bnta"}, "does not train them"),
    ({"optim__joint_rho": True, "model__norm": "bin"}, "leaves rho as it is"),
    ({"mar__ratio": 1.5}, "from 0 to 1"),
    ({"mar__center_momentum": 2.0}, "from 0 to 1, or None"),
    ({"mar__batch_size": 1}, "at least 2 images"),
    ({"mar__label_momentum": 1.0}, "below 1"),
    ({"mar__view_weight": -1.0}, "at least 0"),
    ({"mar__joint_form": "both"}, "choose one of code, paper"),
    ({"data__unlabelled": (3,)}, "write descriptions"),
  ],
)
def test_mistakes(change, message):
  with pytest.raises(UserError, match=message):
    make(**change)
