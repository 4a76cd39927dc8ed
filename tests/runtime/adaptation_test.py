"""Adapting to a gallery: which images, how many steps, and odd galleries."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from metabin_jax import default_config, models
from metabin_jax.errors import UserError
from metabin_jax.methods.bnta import Rules
from metabin_jax.models import layers, registry
from metabin_jax.runtime import adaptation, resolve
from metabin_jax.runtime.adaptation import Plan

SITE = registry.Site("norm", "resnet", 1)


class TinyNet(nn.Module):
  """A layer with both norms and rho: a map of a quarter of the size."""

  @nn.compact
  def __call__(self, x, mode):
    x = layers.Conv(8, 3, 4, name="conv")(x)
    return nn.relu(registry.norm_at("bin", SITE, "bn")(x, mode))


@pytest.fixture(scope="module", name="network")
def network_fixture():
  return models.ReIDNetwork(TinyNet(), num_classes=5, heads="bnta")


@pytest.fixture(scope="module", name="variables")
def variables_fixture(network):
  return jax.device_get(
    models.init_variables(network, jax.random.key(0), 32, 16)
  )


def load(paths):
  """A picture of noise for every name, black for names with "black"."""
  pictures = []
  for path in paths:
    name = path.split("copy")[0]
    seed = int.from_bytes(name.encode(), "little") % 2**32
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (32, 16, 3), np.uint8)
    pictures.append(picture * ("black" not in name))
  return np.stack(pictures)


def names(count):
  return [f"{number:03d}.png" for number in range(count)]


def adapt(network, variables, paths, **options):
  return adaptation.adapt(
    network, variables, load, paths, batch_size=8, **options
  )


def same(first, second):
  one, other = (traverse_util.flatten_dict(v) for v in (first, second))
  return one.keys() == other.keys() and all(
    np.asarray(value).tobytes() == np.asarray(other[path]).tobytes()
    for path, value in one.items()
  )


@pytest.mark.parametrize(
  ("count", "pairs", "steps"),
  # The published galleries: 316 and 900 images, 60 images.
  [(316, 128, 4), (900, 128, 4), (60, 30, 1), (3, 1, 1), (2, 1, 1)],
)
def test_steps_of_the_published_sizes(count, pairs, steps):
  plan = Plan()
  found = adaptation.part_pairs.count_pairs(count, plan.pairs)
  assert found == pairs
  assert len(list(adaptation.batches(pairs, plan))) == steps


def test_batches_see_each_pair_once_an_epoch():
  plan = Plan(batch_pairs=4, epochs=2, seed=3)
  chosen = list(adaptation.batches(10, plan))
  assert [len(rows) for rows in chosen] == [4, 4, 2] * 2
  first, second = (np.concatenate(chosen[i : i + 3]) for i in (0, 3))
  assert sorted(first) == sorted(second) == list(range(10))
  assert first.tolist() != second.tolist()


def test_a_batch_has_the_chosen_pairs_and_their_parts():
  pairs = adaptation.Pairs(
    np.array([[0, 4], [1, 3], [2, 5]]), np.array([5, 1, 3]), np.zeros(3)
  )
  paths = names(6)
  got = adaptation._make_batch(pairs, np.array([2, 0]), paths, load)
  # Anchors, then positives.
  np.testing.assert_array_equal(
    got.image, load([paths[row] for row in (2, 0, 5, 4)])
  )
  assert got.pairs.tolist() == [[0, 2], [1, 3]]
  assert got.parts.tolist() == [3, 5]


def test_order_and_repetitions_of_files_change_nothing(network, variables):
  paths = names(11)
  once = adapt(network, variables, paths)
  again = adapt(network, variables, [*reversed(paths), paths[3]])
  assert same(once.variables, again.variables)
  assert once.losses == again.losses
  assert (once.images, once.pairs, len(once.losses)) == (11, 5, 1)
  other = adapt(network, variables, paths, plan=Plan(batch_pairs=2, seed=1))
  assert len(other.losses) == 3
  assert not same(once.variables, other.variables)


def test_the_source_stays_and_each_place_begins_from_it(network, variables):
  before = jax.tree.map(np.copy, variables)
  first = adapt(network, variables, names(6))
  adapt(network, variables, [f"x{name}" for name in names(9)])
  again = adapt(network, variables, names(6))
  assert same(before, variables)
  assert same(first.variables, again.variables)
  assert not same(first.variables, variables)


@pytest.mark.parametrize(
  "paths",
  [
    names(2),
    names(3),
    ["a", "acopy1", "acopy2", "b"],
    ["a", "acopy1"],
    ["black1", "black2", "black3", "black4"],
    ["black1", "black2"],
  ],
)
def test_odd_galleries_give_finite_networks(network, variables, paths):
  """Two or three images, copies, black ones."""
  found = adapt(network, variables, paths)
  assert found.pairs == len(paths) // 2
  for value in jax.tree.leaves(found.variables):
    assert np.isfinite(value).all()
  outputs = network.apply(found.variables, load(paths), mode="eval")
  assert np.isfinite(outputs.embedding).all()


@pytest.mark.parametrize("paths", [[], ["a"], ["a", "a"]])
def test_one_image_is_refused(network, variables, paths):
  with pytest.raises(UserError, match="give it at least 2"):
    adapt(network, variables, paths)


def test_drawing_one_image_is_refused(network, variables):
  with pytest.raises(UserError, match=r"eval\.bnta\.images to at least 2"):
    adapt(network, variables, names(4), plan=Plan(images=1))


def test_a_loss_that_is_not_finite_names_its_step(network, variables):
  rules = Rules(optimizer="sgd", lr=1e30, groups=("conv",))
  with pytest.raises(UserError, match=r"step [23] is not finite"):
    adapt(network, variables, names(12), rules=rules, plan=Plan(batch_pairs=2))


def test_broken_weights_are_refused(network, variables):
  broken = jax.tree.map(lambda v: np.full_like(v, np.nan), variables)
  with pytest.raises(UserError, match=r"features .* are not finite"):
    adapt(network, broken, names(4))


def test_a_network_without_heads(network, variables):
  plain = network.clone(heads="none")
  bare = {
    name: {k: v for k, v in tree.items() if k != "part_heads"}
    for name, tree in variables.items()
  }
  with pytest.raises(UserError, match="adapt by the loss 'match' alone"):
    adapt(plain, bare, names(6))
  found = adapt(plain, bare, names(6), rules=Rules(losses=("match",)))
  assert found.losses[0].keys() == {"match", "total"}
  assert not same(found.variables, bare)


def test_images_are_drawn_by_the_seed():
  paths = names(20)
  drawn = adaptation.choose_images(paths, Plan(images=5))
  assert drawn == adaptation.choose_images(paths[::-1], Plan(images=5))
  assert len(drawn) == 5
  assert set(drawn) < set(paths)
  assert drawn != adaptation.choose_images(paths, Plan(images=5, seed=1))
  assert adaptation.choose_images(paths, Plan(images=20)) == paths


def test_defaults_are_those_of_the_configuration():
  config = resolve.resolve(default_config.get_config())
  assert adaptation.from_config(config.eval.bnta) == (Rules(), Plan())
  keys = {*Rules._fields, *Plan._fields, "images_of"}
  assert set(config.eval.bnta) == keys
