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
from metabin_jax.models.part_heads import Parts

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


@pytest.mark.parametrize(
  ("backbone", "norm"),
  [
    ("osnet", "osnet_ain"),
    ("resnet18", "bin_shared"),
    ("resnet18", "switchable"),
    ("resnet18", "snr"),
    ("mobilenetv2", "bin"),
  ],
)
def test_groups_of_other_networks(backbone, norm):
  """Kernels and their biases are "conv", affine maps those of their norm."""
  network = models.create(
    backbone,
    norm=norm,
    num_classes=3,
    width=0.25 if backbone == "osnet" else 0.125,
    heads="bnta",
  )
  shapes = jax.eval_shape(
    lambda: network.init(
      jax.random.key(0), np.zeros((2, 64, 32, 3), np.uint8), mode="hold"
    )
  )
  flat = traverse_util.flatten_dict(shapes)
  seen = set()
  for path, leaf in flat.items():
    if path[0] not in ("params", "balance"):
      continue
    beside = {p[-1] for p in flat if p[:-1] == path[:-1]}
    name = path[-1]
    if name in ("kernel", "projection") or (
      name == "bias" and "kernel" in beside
    ):
      want = "conv"
    elif name in ("bn_scale", "bn_bias", "scale", "bias"):
      want = "bn"
      assert leaf.ndim == 1
    elif name in ("in_scale", "in_bias"):
      want = "in"
    elif name == "rho":
      want = "rho"
    else:
      want = None
      assert name.removesuffix("_bias").removesuffix("_kernel") in (
        "classifier",
        "position",
        "identity",
        # SNR's gates, and the weights of switchable norms.
        "squeeze",
        "excite",
        "mean_weights",
        "var_weights",
      ), path
    assert bnta.group_of(path, flat) == want, path
    seen.add((name, want))
  assert ("bias", "conv") in seen or backbone != "osnet"
  assert ("bias", "bn") in seen or norm not in ("bin_shared", "switchable")


def fabricated(seed=5, images=6, parts=4):
  """What a network might say of the parts of some images."""
  random = np.random.default_rng(seed)
  return Parts(
    random.normal(size=(images, parts, 3)),
    random.normal(size=(images, parts, parts)),
  )


def losses_by_hand(parts, batch, rules):
  """Eqs. 5, 8 and 10 and their switches, pair by pair."""
  logits = np.asarray(parts.position)
  counts = np.zeros(logits.shape[:2])
  if rules.position_parts == "all":
    counts[:] = 1
  for pair, part in zip(batch.pairs, batch.parts, strict=True):
    counts[pair, part] = 1
  position = 0.0
  for image, part in zip(*np.nonzero(counts), strict=True):
    row = logits[image, part]
    position += np.log(np.exp(row).sum()) - row[part]
  position /= len(logits)
  hinges = []
  for (first, second), part in zip(batch.pairs, batch.parts, strict=True):
    f = np.asarray(parts.features)[:, part]
    for anchor, positive in ((first, second), (second, first)):
      away = np.linalg.norm(f - f[anchor], axis=1)
      others = np.delete(away, [anchor, positive])
      hinges.append(max(0.0, rules.margin + away[positive] - others.min()))
  hinges = hinges if rules.symmetric else hinges[::2]
  match = np.sum(hinges) / (1 if rules.reduction == "sum" else len(hinges))
  return position, match, position + rules.match_weight * match


@pytest.mark.parametrize(
  "change",
  [
    {},
    {"match_weight": 2.5},
    {"margin": 1.75},
    {"reduction": "sum"},
    {"symmetric": True},
    {"position_parts": "paired"},
  ],
)
def test_every_rule_reaches_the_losses(change, float64):
  rules = Rules(**change)
  pairs = bnta.PairBatch(None, np.array([[0, 3], [4, 1]]), np.array([2, 0]))
  total, losses = bnta._losses(fabricated(), pairs, rules)
  found = losses["position"], losses["match"], total
  want = losses_by_hand(fabricated(), pairs, rules)
  np.testing.assert_allclose(found, want, 1e-9)
  usual = losses_by_hand(fabricated(), pairs, Rules())
  assert (want != usual) == bool(change)


def test_rho_stays_in_its_range(network, variables):
  rules = Rules(groups=("rho",), lr=10.0)
  state, _ = adapt(network, variables, rules, steps=1)
  for rho in jax.tree.leaves(state.balance):
    assert set(np.unique(rho)) <= {0.0, 0.5, 1.0}  # 0.5: without a gradient
    assert np.any(rho != 0.5)


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


@functools.cache
def total_in_mode(network, mode):
  """Of the first batch, by the weights of `variables`."""

  @jax.jit
  def run(variables, images):
    outputs = network.apply(
      variables,
      images,
      mode=mode,
      mutable=["batch_stats"] if mode == "update" else [],
    )[0]
    return bnta._losses(outputs.parts, batch(), Rules())[0]

  return lambda variables: float(run(variables, batch().image))


@pytest.mark.parametrize("statistics", bnta.STATISTICS)
def test_running_forward_moves_the_same_arrays(network, variables, statistics):
  rules = Rules(forward="running", statistics=statistics)
  _, first = adapt(network, variables, rules, steps=1)
  by_running = total_in_mode(network, "eval")(variables)
  by_batch = total_in_mode(network, "update")(variables)
  np.testing.assert_allclose(first["total"], by_running, rtol=1e-5)
  _, first = adapt(network, variables, Rules(), steps=1)
  np.testing.assert_allclose(first["total"], by_batch, rtol=1e-5)
  assert abs(by_batch - by_running) > 1e-3 * by_batch
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
