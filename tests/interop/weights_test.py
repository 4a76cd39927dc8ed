"""Recognizing weights, and putting them into networks of every arm."""

from __future__ import annotations

import numpy as np
import pytest
from golden import rules

from metabin_jax.errors import UserError
from metabin_jax.interop import layouts, matching, official, weights
from metabin_jax.models import registry

SMALL = {"resnet18": 0.125, "mobilenetv2": 0.25, "mobilenetv2_standard": 0.25}


def ordinary(layout="torchvision-resnet", backbone="resnet18", heads=True):
  """A state dict in a layout, every number another one."""
  state, start = {}, 1.0
  found = layouts.LAYOUTS[layout]
  for path, shape in matching.shapes(
    backbone, "bn", SMALL.get(backbone, 1.0)
  ).items():
    if path[1] != "backbone":
      continue
    key = found.key_of(path[2:])
    shape = matching.torch_shape(shape, False)
    size = int(np.prod(shape))
    state[key] = np.arange(start, start + size, dtype=np.float32).reshape(shape)
    start += size
    if key.endswith("running_var"):
      state[key.replace("running_var", "num_batches_tracked")] = np.array(7)
  if heads:
    state |= {key: np.ones(3, np.float32) for key in found.heads[:2]}
  return state


def fresh(backbone, norm, classes=3):
  """Variables as good as new: random, and quicker made than initial ones."""
  generator = np.random.default_rng(0)
  shapes = matching.shapes(backbone, norm, SMALL[backbone], classes)
  return matching.nest(
    {
      path: generator.uniform(-1, 1, shape).astype(np.float32)
      for path, shape in shapes.items()
    }
  )


def read(state, **known):
  return weights.read(state, weights.recognize(state, **known))


@pytest.mark.parametrize(
  ("layout", "backbone"),
  [
    ("torchvision-resnet", "resnet18"),
    ("torchvision-mobilenetv2", "mobilenetv2_standard"),
    ("timm-mobilenetv2", "mobilenetv2_standard"),
    ("torchreid-mobilenetv2", "mobilenetv2"),
  ],
)
def test_ordinary_weights_are_recognized_and_every_number_arrives(
  layout, backbone
):
  state = ordinary(layout, backbone)
  network = weights.recognize(state)
  assert network == weights.Network(layout, backbone, SMALL[backbone], "bn")
  found = weights.read(state, network)
  assert found.unused == layouts.LAYOUTS[layout].heads[:2]
  assert found.num_classes == 0
  given = [v for k, v in state.items() if k not in found.unused and v.ndim]
  for arrays in (given, found.arrays.values()):
    numbers = np.sort(np.concatenate([np.ravel(array) for array in arrays]))
    np.testing.assert_array_equal(numbers, 1 + np.arange(len(numbers)))
  filled = weights.fill(fresh(backbone, "bn"), found, "bn")
  assert not filled.dropped
  # The neck and the classifier are our own.
  assert {path[1] for path in filled.kept} == {"neck", "classifier"}


@pytest.mark.parametrize(
  ("name", "backbone", "width"),
  [
    ("resnet18", "resnet18", 1.0),
    ("resnet34", "resnet34", 1.0),
    ("resnet50", "resnet50", 1.0),
    ("resnet101", "resnet101", 1.0),
    ("resnet152", "resnet152", 1.0),
    ("mobilenetv2_1.0", "mobilenetv2", 1.0),
    ("mobilenetv2_1.4", "mobilenetv2", 1.4),
  ],
)
def test_checkpoints_of_the_reference_are_recognized(name, backbone, width):
  shapes = rules.key_shapes(name, "bin")
  state = {key: np.broadcast_to(0.0, shape) for key, shape in shapes.items()}
  assert weights.recognize(state) == weights.Network(
    "metabin", backbone, width, "bin"
  )


@pytest.mark.parametrize(
  "norm", [norm for norm in rules.NORMS if norm != "dualnorm_metabin"]
)
def test_arms_of_the_reference_are_recognized(norm):
  shapes = rules.key_shapes("resnet18", norm)
  state = {key: np.broadcast_to(0.0, shape) for key, shape in shapes.items()}
  assert weights.recognize(state).norm == norm


def test_dualnorm_of_the_reference_is_recognized():
  shapes = rules.key_shapes("mobilenetv2_1.0", "dualnorm_metabin")
  state = {key: np.broadcast_to(0.0, shape) for key, shape in shapes.items()}
  assert weights.recognize(state).norm == "dualnorm_metabin"


def names(paths):
  return {path[-1] for path in paths if path[1] == "backbone"}


# specs: IN affine stays 1/0 and rho 1 in the mixing layer; IN alone gets the
# batch norm's affine map; halves get nothing.
@pytest.mark.parametrize(
  ("norm", "taken", "kept", "dropped"),
  [
    ("bn", {"kernel", "bn_scale", "bn_bias", "mean", "var"}, set(), set()),
    (
      "bin",
      {"kernel", "bn_scale", "bn_bias", "mean", "var"},
      {"in_scale", "in_bias", "rho"},
      set(),
    ),
    ("in", {"kernel", "in_scale", "in_bias"}, set(), {"mean", "var"}),
    (
      "bin_shared",
      {"kernel", "scale", "bias", "mean", "var"},
      {"rho"},
      set(),
    ),
    (
      "bin_half",
      {"kernel"},
      {"bn_scale", "bn_bias", "in_scale", "in_bias", "mean", "var"},
      {"bn_scale", "bn_bias", "mean", "var"},
    ),
  ],
)
def test_what_each_arm_starts_from(norm, taken, kept, dropped):
  found = read(ordinary())
  before = fresh("resnet18", norm)
  filled = weights.fill(before, found, norm)
  assert names(filled.taken) == taken
  assert names(filled.kept) == kept
  assert names(filled.dropped) == dropped
  start = matching.flatten(before)
  after = matching.flatten(filled.variables)
  assert set(after) == set(start)
  origin = {"scale": "bn_scale", "bias": "bn_bias"}
  origin |= {"in_scale": "bn_scale", "in_bias": "bn_bias"}
  for path in filled.kept:
    np.testing.assert_array_equal(after[path], start[path])
  for path in filled.taken:
    source = path
    if source not in found.arrays:
      source = (*path[:-1], origin[path[-1]])
    np.testing.assert_array_equal(after[path], found.arrays[source])
    assert after[path].dtype == np.float32


def test_dualnorm_starts_its_batch_norms_only():
  state = ordinary("torchreid-mobilenetv2", "mobilenetv2")
  variables = fresh("mobilenetv2", "dualnorm_metabin")
  filled = weights.fill(variables, read(state), "dualnorm_metabin")
  assert {"in_scale", "in_bias"} <= names(filled.kept)
  assert not names(filled.taken) & {"in_scale", "in_bias"}
  assert ("params", "backbone", "layer9", "bn", "bn_scale") in filled.taken


def test_every_arm_can_start_from_an_ordinary_network():
  found = read(ordinary())
  for norm in registry.norms():
    if norm.startswith("osnet"):  # places in OSNet only
      continue
    filled = weights.fill(fresh("resnet18", norm), found, norm)
    kernels = [p for p in filled.taken if p[-1] == "kernel"]
    assert len(kernels) == 20, norm


def test_the_classifier_is_taken_when_asked_for():
  variables = fresh("resnet18", "bin", classes=5)
  variables["params"]["classifier"] += 1.0
  state = official.to_official(variables, "bin")
  found = read(state)
  assert found.num_classes == 5
  alone = weights.fill(fresh("resnet18", "bin", 5), found, "bin")
  assert alone.kept == (("params", "classifier"),)
  both = weights.fill(
    fresh("resnet18", "bin", 5), found, "bin", classifier=True
  )
  assert not both.kept
  back = official.to_official(both.variables, "bin")
  for key, value in state.items():
    np.testing.assert_array_equal(back[key], value, err_msg=key)


def test_weights_of_another_arm_or_network_are_refused():
  state = official.to_official(fresh("resnet18", "bin"), "bin")
  with pytest.raises(UserError, match="of norm 'bin' and start no other arm"):
    weights.fill(fresh("resnet18", "in"), read(state), "in")
  mobile = read(ordinary("torchreid-mobilenetv2", "mobilenetv2"))
  with pytest.raises(UserError, match=r"for mobilenetv2 of width 0\.25 and do"):
    weights.fill(fresh("resnet18", "bn"), mobile, "bn")


def test_missing_renamed_and_misshapen_keys_are_listed():
  state = ordinary()
  del state["layer1.0.bn1.bias"]
  state["layer1.0.bn1.offset"] = np.zeros(8, np.float32)
  state["layer2.0.conv1.weight"] = np.zeros((16, 8, 1, 1), np.float32)
  with pytest.raises(UserError) as caught:
    read(state)
  message = str(caught.value)
  assert "1 missing (layer1.0.bn1.bias)" in message
  assert "1 unknown (layer1.0.bn1.offset)" in message
  assert "layer2.0.conv1.weight is (16, 8, 1, 1), want (16, 8, 3, 3)" in message


def test_networks_that_are_not_ours():
  with pytest.raises(
    UserError, match=r"\(encoder\.a, \.\.\.\) are of no known"
  ):
    weights.recognize({"encoder.a": np.zeros(3)})
  state = ordinary()
  state["layer1.2.conv1.weight"] = state["layer1.1.conv1.weight"]
  with pytest.raises(UserError, match=r"with \[3, 2, 2, 2\] blocks"):
    weights.recognize(state)
  state = ordinary("torchreid-mobilenetv2", "mobilenetv2")
  state["conv9.conv.weight"] = np.zeros((1279, 80, 1, 1), np.float32)
  with pytest.raises(UserError, match="none of the widths"):
    weights.recognize(state)


def test_what_the_user_says_goes_before_what_the_keys_say():
  state = ordinary()
  network = weights.recognize(state, backbone="resnet34", width=1.0)
  assert network[1:3] == ("resnet34", 1.0)
  with pytest.raises(UserError, match=r"do not fit resnet34 of width 1\.0"):
    weights.read(state, network)
  network = weights.recognize(state, backbone="osnet")
  with pytest.raises(UserError, match="has no osnet; it has resnet18"):
    weights.read(state, network)
