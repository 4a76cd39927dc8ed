"""One adaptation step: what moves, by how much, and what must not."""

from __future__ import annotations

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from metabin_jax import models
from metabin_jax.methods import bnta
from metabin_jax.methods.bnta import Rules
from metabin_jax.models import layers, registry

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "bnta.npz")
# Rows of Tables 4 and 5, and what ours adds.
TABLE_4 = [
  groups
  for size in range(4)
  for groups in itertools.combinations(("bn", "conv", "in"), size)
]
TABLE_5 = [
  (),
  ("mean",),
  ("var",),
  ("mean", "var"),
  ("scale",),
  ("bias",),
  ("scale", "bias"),
  bnta.BN_ARRAYS,
]


class TinyNet(nn.Module):
  """Two layers with both norms and rho: a map of an eighth of the size."""

  @nn.compact
  def __call__(self, x, mode):
    for layer, (features, stride) in enumerate(((8, 4), (12, 2))):
      x = layers.Conv(features, 3, stride, name=f"conv{layer}")(x)
      x = nn.relu(registry.norm_at("bin", SITE, f"bn{layer}")(x, mode))
    return x


SITE = registry.Site("norm", "resnet", 1)


@pytest.fixture(scope="module")
def network():
  """With part heads."""
  return models.ReIDNetwork(TinyNet(), num_classes=5, heads="bnta")


@pytest.fixture(scope="module")
def variables(network):
  """Random, but for a rho strictly inside of its range."""
  variables = models.init_variables(network, jax.random.key(0), 64, 32)
  balance = jax.tree.map(lambda rho: 0.5 * rho, variables["balance"])
  return {**variables, "balance": balance}


def batch(seed=0, pairs=6):
  """One pair for each part, so that all parts have a gradient."""
  rng = np.random.default_rng(seed)
  return bnta.PairBatch(
    rng.integers(0, 256, (2 * pairs, 64, 32, 3), np.uint8),
    np.arange(2 * pairs).reshape(2, pairs).T,
    np.arange(pairs) % 6,
  )


@functools.cache
def compiled(network, rules):
  return jax.jit(bnta.make_step(network, rules))


def adapt(network, variables, rules, steps=2):
  state = bnta.create_state(variables, rules)
  step = compiled(network, rules)
  for seed in range(steps):
    state, losses = step(state, batch(seed))
  return state, losses


def moved(before, after):
  """Paths of the arrays that are not bit-identical."""
  first, second = map(traverse_util.flatten_dict, (before, after))
  assert first.keys() == second.keys()
  return {
    path
    for path in first
    if np.asarray(first[path]).tobytes() != np.asarray(second[path]).tobytes()
  }


def expected_paths(variables, rules):
  """What the rules let move, by the names of the arrays."""
  names = {
    "bn": ("bn_scale", "bn_bias"),
    "in": ("in_scale", "in_bias"),
    "conv": ("kernel", "projection"),
    "rho": ("rho",),
  }
  wanted = {name for group in rules.groups for name in names[group]}
  if "bn" in rules.groups:
    for name in ("scale", "bias"):
      if name not in rules.bn_arrays:
        wanted.discard(f"bn_{name}")
    wanted |= {name for name in ("mean", "var") if name in rules.bn_arrays}
  return {
    path for path in traverse_util.flatten_dict(variables) if path[-1] in wanted
  }


# A program each; pairs of groups are slow.
@pytest.mark.parametrize(
  "update",
  [
    pytest.param(groups, marks=[pytest.mark.slow] if len(groups) == 2 else [])
    for groups in (*TABLE_4, ("rho",), bnta.GROUPS)
  ],
)
def test_only_chosen_groups_move(network, variables, update):
  rules = Rules(groups=update)
  state, losses = adapt(network, variables, rules)
  found = moved(variables, state.variables)
  allowed = expected_paths(variables, rules)
  assert found <= allowed
  # The neck's affine map has no gradient; else everything moves.
  neck = {("params", "neck", f"bn_{name}") for name in ("scale", "bias")}
  assert allowed - neck - found == set()
  assert all(np.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("arrays", TABLE_5)
def test_only_chosen_arrays_of_batch_norms_move(network, variables, arrays):
  rules = Rules(bn_arrays=arrays)
  state, _ = adapt(network, variables, rules)
  found = moved(variables, state.variables)
  allowed = expected_paths(variables, rules)
  assert found <= allowed
  assert {path[-1] for path in found} == {path[-1] for path in allowed}


def test_the_given_variables_stay(network, variables):
  before = jax.tree.map(np.array, variables)
  adapt(network, variables, Rules(groups=bnta.GROUPS))
  assert moved(before, variables) == set()


@pytest.mark.parametrize("momentum", [0.1, 0.25])
def test_statistics_are_the_closed_form(network, variables, momentum):
  """After k steps on one batch, with nothing but statistics moving:
  (1 - m)^k of the old, the rest of the batch's."""
  rules = Rules(bn_arrays=("mean", "var"), momentum=momentum)
  state = bnta.create_state(variables, rules)
  step = compiled(network, rules)
  after = {}
  for number in range(1, 5):
    state, _ = step(state, batch())
    after[number] = traverse_util.flatten_dict(state.batch_stats)
  _, once = jax.jit(
    lambda v, x: network.apply(v, x, mode="update", mutable=["batch_stats"])
  )(variables, batch().image)
  old = traverse_util.flatten_dict(variables["batch_stats"])
  once = traverse_util.flatten_dict(once["batch_stats"])
  for steps in (1, 4):
    kept = (1 - momentum) ** steps
    for path, value in after[steps].items():
      of_batch = old[path] + (once[path] - old[path]) / 0.1
      expected = kept * old[path] + (1 - kept) * of_batch
      scale = np.abs(np.asarray(expected)).max()
      np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5 * scale)


def test_the_neck_can_stay(network, variables):
  state, _ = adapt(network, variables, Rules(neck=False))
  assert not any("neck" in path for path in moved(variables, state.variables))


def test_without_bn_it_runs_by_the_running_statistics(network, variables):
  rules = Rules(groups=("in",))
  _, losses = adapt(network, variables, rules, steps=1)
  outputs = jax.jit(lambda v, x: network.apply(v, x, mode="eval"))(
    variables, batch().image
  )
  want, _ = bnta._losses(outputs.parts, batch(), rules)
  np.testing.assert_allclose(losses["total"], want, rtol=1e-6)


@pytest.mark.parametrize("statistics", bnta.STATISTICS)
def test_running_forward_moves_the_same_arrays(network, variables, statistics):
  rules = Rules(forward="running", statistics=statistics)
  state, _ = adapt(network, variables, rules)
  found = moved(variables, state.variables)
  assert found <= expected_paths(variables, rules)
  assert {path[-1] for path in found} == {"bn_scale", "bn_bias", "mean", "var"}
  flat = traverse_util.flatten_dict(state.batch_stats)
  assert all((v >= 0).all() for p, v in flat.items() if p[-1] == "var")


def test_adam_is_the_reference_s(float64):
  rules = Rules()
  tx = bnta._make_tx(rules)
  params = jnp.asarray(GOLDEN["adam_start"])
  state = tx.init(params)
  for grad in GOLDEN["adam_grads"]:
    updates, state = tx.update(jnp.asarray(grad), state)
    params = params + updates
  np.testing.assert_allclose(params, GOLDEN["adam_after"], 1e-9)


def test_four_adam_steps_move_a_parameter_by_at_most_0_002(network, variables):
  rules = Rules(groups=("bn", "in"))
  state, _ = adapt(network, variables, rules, steps=4)
  away = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()), state.params, variables["params"]
  )
  largest = max(jax.tree.leaves(away))
  assert 0 < largest <= 0.002 + 1e-6


def test_sgd_is_the_gradient_times_lr(network, variables):
  lr = 1e-3
  rules = Rules(groups=("in",), optimizer="sgd", lr=lr)
  state, _ = adapt(network, variables, rules, steps=1)

  def loss(params):
    outputs = network.apply(
      {**variables, "params": params}, batch().image, mode="eval"
    )
    return bnta._losses(outputs.parts, batch(), rules)[0]

  grads = traverse_util.flatten_dict(
    jax.jit(jax.grad(loss))(variables["params"])
  )
  before = traverse_util.flatten_dict(variables["params"])
  after = traverse_util.flatten_dict(state.params)
  for path, value in after.items():
    if path[-1].startswith("in_"):
      np.testing.assert_allclose(
        value, before[path] - lr * grads[path], rtol=1e-5, atol=1e-7
      )


def test_order_of_images_does_not_matter(network, variables):
  rules = Rules()
  step = compiled(network, rules)
  one = batch()
  order = np.random.default_rng(1).permutation(len(one.image))
  other = bnta.PairBatch(
    one.image[order], np.argsort(order)[one.pairs], one.parts
  )
  _, first = step(bnta.create_state(variables, rules), one)
  _, again = step(bnta.create_state(variables, rules), other)
  np.testing.assert_allclose(first["total"], again["total"], rtol=1e-5)


def test_the_loss_falls_on_its_own_batch(network, variables):
  rules = Rules(lr=5e-3)
  state = bnta.create_state(variables, rules)
  step = compiled(network, rules)
  totals = []
  for _ in range(8):
    state, losses = step(state, batch())
    totals.append(float(losses["total"]))
  assert totals[-1] < totals[0]


def test_stripes_adapt_by_the_matching_loss_alone(network, variables):
  plain = network.clone(heads="stripes")
  params = {k: v for k, v in variables["params"].items() if k != "part_heads"}
  stats = {
    k: v for k, v in variables["batch_stats"].items() if k != "part_heads"
  }
  bare = {**variables, "params": params, "batch_stats": stats}
  state, losses = adapt(plain, bare, Rules(losses=("match",)))
  assert set(losses) == {"match", "total"}
  assert moved(bare, state.variables)
  with pytest.raises(ValueError, match="needs a network with heads"):
    bnta.make_step(plain, Rules())


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"groups": ("bnn",)}, "groups is"),
    ({"bn_arrays": ("gamma",)}, "bn_arrays is"),
    ({"losses": ()}, "at least one"),
    ({"optimizer": "lion"}, "optimizer is"),
  ],
)
def test_unknown_choices_are_refused(change, said):
  with pytest.raises(ValueError, match=said):
    bnta.check_rules(Rules(**change))
