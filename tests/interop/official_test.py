from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rules, training

from metabin_jax import models
from metabin_jax.errors import UserError
from metabin_jax.interop import official

NETWORKS = (
  "mobilenetv2_1.0",
  "mobilenetv2_1.4",
  "resnet18",
  "resnet34",
  "resnet50",
  "resnet101",
  "resnet152",
)
CASES = [(network, "bin") for network in NETWORKS]
CASES += [
  (network, norm)
  for network in ("mobilenetv2_1.0", "resnet18")
  for norm in ("bn", "in", "bin_half", "bin_shared")
]
CASES += [("mobilenetv2_1.0", "dualnorm_metabin")]


def cheap_state(network, norm):
  """Right keys and shapes, values that tell every entry apart."""
  state = {}
  for i, (key, shape) in enumerate(rules.key_shapes(network, norm).items()):
    if key.startswith("pixel"):
      state[key] = rules.value(key, shape).astype(np.float32)
    elif key.endswith("num_batches_tracked"):
      state[key] = np.zeros((), np.int64)
    else:
      size = int(np.prod(shape))
      ramp = np.arange(size, dtype=np.float32) + np.float32(i)
      state[key] = ramp.reshape(shape)
  return state


def read(state, network, norm):
  return official.from_official(
    state, training.backbone(network), norm, width=training.width(network)
  )


def test_every_golden_key_list_has_a_case():
  with rules.load("keys.npz") as file:
    names = {key.removesuffix("/keys") for key in file.files}
  names = {name for name in names if not name.endswith("/shapes")}
  assert names == {
    network if norm == "bin" else f"{network}_{rules.NORMS[norm]}"
    for network, norm in CASES
  }
  assert {norm for _, norm in CASES} == set(rules.NORMS)


@pytest.mark.parametrize(("network", "norm"), CASES)
def test_round_trip_is_bit_exact(network, norm):
  state = cheap_state(network, norm)
  variables = read(state, network, norm)
  back = official.to_official(variables, norm)
  assert set(back) == set(state)
  for key, value in state.items():
    assert back[key].dtype == value.dtype, key
    np.testing.assert_array_equal(back[key], value, err_msg=key)
  has_rho = norm in ("bin", "bin_shared")
  assert bool(jax.tree.leaves(variables["balance"])) == has_rho


def test_trees_are_those_of_the_network():
  variables = read(cheap_state("resnet18", "bin"), "resnet18", "bin")
  network = training.create("resnet18", dtype=jnp.float32)
  want = jax.eval_shape(
    lambda key: models.init_variables(network, key, 32, 16), jax.random.key(0)
  )
  assert jax.tree.structure(variables) == jax.tree.structure(want)
  for a, b in zip(
    jax.tree.leaves(variables), jax.tree.leaves(want), strict=True
  ):
    assert a.shape == b.shape


def test_layouts():
  variables = read(cheap_state("resnet18", "bin"), "resnet18", "bin")
  state = cheap_state("resnet18", "bin")
  kernel = variables["params"]["backbone"]["conv1"]["kernel"]
  assert kernel.shape == (7, 7, 3, 64)
  assert kernel[2, 5, 1, 40] == state["backbone.conv1.weight"][40, 1, 2, 5]
  classifier = variables["params"]["classifier"]
  assert classifier[300, 7] == state["heads.classifier_fc.weight"][7, 300]
  block = variables["params"]["backbone"]["layer2_0"]["bn1"]
  np.testing.assert_array_equal(
    block["in_bias"], state["backbone.layer2.0.bn1.ins_n.bias"]
  )


def test_counters_and_constants_are_optional():
  state = cheap_state("resnet18", "bin")
  small = {
    key: value
    for key, value in state.items()
    if not key.startswith("pixel") and not key.endswith("tracked")
  }
  assert len(small) < len(state)
  a, b = (read(s, "resnet18", "bin") for s in (state, small))
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def test_missing_extra_and_misshapen_keys_are_listed():
  state = cheap_state("resnet18", "bin")
  state.pop("backbone.layer1.0.bn1.gate")
  state["backbone.layer9.weight"] = np.zeros(3, np.float32)
  state["backbone.conv1.weight"] = np.zeros((64, 3, 3, 3), np.float32)
  with pytest.raises(UserError) as caught:
    read(state, "resnet18", "bin")
  message = str(caught.value)
  assert "1 missing (backbone.layer1.0.bn1.gate)" in message
  assert "1 unknown (backbone.layer9.weight)" in message
  assert "backbone.conv1.weight is (64, 3, 3, 3), want (64, 3, 7, 7)" in message


def test_weights_of_another_arm_or_width():
  state = cheap_state("resnet18", "bn")
  with pytest.raises(UserError, match="do not fit resnet18"):
    read(state, "resnet18", "bin")
  state = cheap_state("mobilenetv2_1.4", "bin")
  with pytest.raises(UserError, match="of another shape"):
    read(state, "mobilenetv2_1.0", "bin")


def test_other_pixel_statistics():
  state = cheap_state("resnet18", "bin")
  state["pixel_mean"] = np.full((1, 3, 1, 1), 127.5, np.float32)
  with pytest.raises(UserError, match="pixel_mean is not ImageNet's"):
    read(state, "resnet18", "bin")


def test_not_a_state_dict():
  state = {"model": {}, "optimizer": {}, "iteration": 3}
  with pytest.raises(UserError, match="not a MetaBIN checkpoint"):
    read(state, "resnet18", "bin")


def test_counters_of_no_layer_and_numbers_that_are_none_are_refused():
  state = official.to_official(
    models.init_variables(
      models.create("resnet18", norm="bn", num_classes=3, width=0.125),
      jax.random.key(0),
      32,
      16,
    ),
    "bn",
  )
  fine = official.from_official(state, "resnet18", "bn", width=0.125)
  assert set(fine) == {"params", "balance", "batch_stats"}
  with pytest.raises(UserError, match=r"not\.a\.layer\.num_batches_tracked"):
    official.from_official(
      state | {"not.a.layer.num_batches_tracked": np.zeros(())},
      "resnet18",
      "bn",
      width=0.125,
    )
  state["backbone.conv1.weight"] = state["backbone.conv1.weight"] * np.nan
  with pytest.raises(UserError, match=r"backbone\.conv1\.weight is not finite"):
    official.from_official(state, "resnet18", "bn", width=0.125)
  with pytest.raises(UserError, match="resnet19"):
    official.from_official(state, "resnet19", "bn")


def test_arms_that_the_reference_does_not_have():
  state = cheap_state("resnet18", "bn")
  with pytest.raises(UserError, match=r"no weights for norm 'snr'.*are bn, in"):
    read(state, "resnet18", "snr")
