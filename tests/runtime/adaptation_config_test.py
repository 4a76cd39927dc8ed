"""Configurations of part heads and of adapting that do not fit."""

from __future__ import annotations

import pytest

from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.runtime import resolve

TRAINED = {
  "model.heads": "bnta",
  "loss.base": ("ce", "position", "match"),
  "eval.adapt": "bnta",
}


def make(changes):
  config = default_config.get_config()
  config.update_from_flattened_dict(changes)
  return resolve.resolve(config)


@pytest.mark.parametrize(
  "changes",
  [
    TRAINED,
    # Trained in a phase of the meta step.
    {
      **TRAINED,
      "loss.base": ("ce", "match"),
      "loss.mtest": ("triplet", "position"),
    },
    {
      **TRAINED,
      "loss.base": ("ce", "position"),
      "eval.bnta.losses": ("position",),
    },
    # By stripes, without heads; and heads that nothing adapts by.
    {"eval.adapt": "bnta", "eval.bnta.losses": ("match",)},
    {"model.heads": "bnta"},
  ],
)
def test_what_fits(changes):
  make(changes)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"loss.base": ("ce", "match")},
      "loss.base has 'match', a loss of the heads",
    ),
    (
      {"loss.mtest": ("position",)},
      "loss.mtest has 'position', a loss of the heads",
    ),
    ({"eval.adapt": "bnta"}, "this network was trained without part heads"),
    (
      {**TRAINED, "loss.base": ("ce", "match")},
      "'position', and this network's head for it was not trained",
    ),
    (
      {**TRAINED, "loss.base": ("ce", "position")},
      "'match', and this network's head for it was not trained",
    ),
    ({**TRAINED, "eval.adapt_bn": "all"}, "adapt by one of them"),
    ({"eval.bnta.groups": ("bn", "gn")}, "name some of bn, in, conv, rho"),
    ({"eval.bnta.bn_arrays": ("gamma",)}, "name some of mean, var, scale"),
    ({"eval.bnta.losses": ()}, "name at least one of position, match"),
    ({"eval.bnta.momentum": 1.5}, "a share, from 0 to 1"),
    ({"eval.bnta.lr": 0.0}, "must be above 0"),
    ({"eval.bnta.images": -1}, "must be at least 0"),
    ({"eval.bnta.forward": "both"}, "choose one of batch, running"),
  ],
)
def test_mistakes(changes, message):
  with pytest.raises(UserError, match=message):
    make(changes)
