"""Configurations of arm `snr` and its loss, and of arms without places."""

from __future__ import annotations

import pytest

from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.runtime import resolve


def make(**changes):
  config = default_config.get_config()
  config.method = "joint"
  config.model.norm = "snr"
  config.loss.base = ("ce", "triplet", "snr")
  config.update_from_flattened_dict(changes)
  return config


def test_a_configuration_with_the_loss():
  config = resolve.resolve(make())
  assert config.loss.weights.snr == 1
  changed = resolve.resolve(make(**{"loss.weights.snr": 0.25}))
  assert changed.loss.weights.snr == 0.25


def test_the_arm_does_not_need_its_loss():
  config = resolve.resolve(make(**{"loss.base": ("ce",)}))
  assert config.model.norm == "snr"


@pytest.mark.parametrize(
  "norm",
  ["switchable", "ibn_a", "ibn_b", "dualnorm", "dualnorm_metabin"],
)
def test_other_arms_have_names(norm):
  changes = {"model.norm": norm, "loss.base": ("ce",)}
  assert resolve.resolve(make(**changes)).model.norm == norm
  with pytest.raises(UserError, match=f"model.norm '{norm}' has no rho"):
    resolve.resolve(make(**changes, **{"optim.joint_rho": True}))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model.norm": "bn"}, "loss.base has 'snr'.*model.norm is 'bn'"),
    (
      {"model.norm": "bn", "loss.base": ("ce",), "loss.mtest": ("snr",)},
      "loss.mtest has 'snr'.*model.norm is 'bn'",
    ),
    ({"loss.mtrain": ("ce", "snr")}, "loss.mtrain has 'snr', which only the"),
    (
      {"loss.base": ("ce",), "loss.mtest": ("snr",)},
      "loss.mtest has 'snr', which only the base step",
    ),
    (
      {"optim.classifier_only_epochs": 1.0},
      "set optim.classifier_only_epochs to 0",
    ),
    ({"data.sampler": "shuffle", "loss.base": ("ce", "snr")}, "loss.base has"),
    ({"loss.weights.snr": -1.0}, "loss.weights.snr is -1.0"),
  ],
)
def test_mistakes(changes, message):
  with pytest.raises(UserError, match=message):
    resolve.resolve(make(**changes))
