"""Numbers that are not finite are found and named."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.runtime import finite

GOOD = {"params": {"w": jnp.ones(2)}, "step": jnp.int32(3), "lr": 0.1}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_metrics_name_step_metric_and_tensor(value):
  state = GOOD | {"params": {"w": jnp.array([0.0, value]), "v": jnp.ones(1)}}
  metrics = {"loss/ce": value, "lr": 0.1}
  with pytest.raises(finite.NonFiniteError) as caught:
    finite.check_metrics(7, metrics, state)
  said = str(caught.value)
  assert f"iteration 7: loss/ce = {value}." in said
  assert "params/w." in said
  assert "params/v" not in said
  assert "lr =" not in said


def test_a_loss_may_go_before_the_state():
  with pytest.raises(finite.NonFiniteError, match="the loss came first"):
    finite.check_metrics(0, {"loss": float("nan")}, GOOD)


def test_good_numbers_pass():
  finite.check_metrics(0, {"loss": 1.0, "lr": np.float32(0.1)}, GOOD)
  finite.check_state(1, GOOD)


def test_states_name_the_iteration_before_them():
  bad = GOOD | {"balance": {"rho": jnp.array(np.nan)}}
  with pytest.raises(
    finite.NonFiniteError, match=r"after iteration 4 .*: balance/rho\. .*saved"
  ):
    finite.check_state(5, bad)


def test_every_kind_of_leaf_is_looked_at():
  tree = {
    "half": jnp.array([jnp.inf], jnp.bfloat16),
    "number": float("nan"),
    "numpy": np.array([np.nan], np.float64),
    "int": np.arange(3),
    "bool": True,
    "empty": np.zeros(0, np.float32),
    "key": jax.random.key(0),
  }
  assert finite.nonfinite_leaves(tree) == ["half", "number", "numpy"]
