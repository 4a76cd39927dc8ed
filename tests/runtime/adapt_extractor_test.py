"""`metabin_jax.adapt`: an extractor for a place, the given one as it was."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

import metabin_jax
from metabin_jax import default_config, models
from metabin_jax.data.images import load_image
from metabin_jax.errors import UserError
from metabin_jax.models import layers, registry
from metabin_jax.runtime import adaptation, resolve, scoring
from metabin_jax.runtime.extractor import Extractor

SITE = registry.Site("norm", "resnet", 1)
CARD = {
  "model": {"run": "tiny", "step": 7, "sha256": "0" * 64},
  "input": {"height_px": 32, "width_px": 16},
  "embedding": {"dim": 8, "metric": "cosine", "flip": False},
}


class TinyNet(nn.Module):
  """A layer with both norms and rho, as MetaBIN has them."""

  @nn.compact
  def __call__(self, x, mode):
    x = layers.Conv(8, 3, 4, name="conv")(x)
    return nn.relu(registry.norm_at("bin", SITE, "bn")(x, mode))


def make_extractor(heads, **changes):
  config = default_config.get_config()
  config.data.height_px, config.data.width_px = 32, 16
  config.model.heads = heads
  if heads == "bnta":
    config.loss.base = ("ce", "triplet", "position", "match")
  config.update_from_flattened_dict(changes)
  network = models.ReIDNetwork(TinyNet(), num_classes=5, heads=heads)
  variables = models.init_variables(network, jax.random.key(0), 32, 16)
  variables = jax.device_get(variables)
  # It starts at 1, where instance norm has no part.
  variables["balance"] = jax.tree.map(
    lambda rho: np.full_like(rho, 0.5), variables["balance"]
  )
  run = scoring.LoadedRun(
    7, resolve.resolve(config), network, variables, [], CARD
  )
  return Extractor(run, batch_size=4, flip=True)


@pytest.fixture(scope="module", name="metabin")
def metabin_fixture():
  return make_extractor("none")


@pytest.fixture(scope="module", name="bnta")
def bnta_fixture():
  return make_extractor("bnta")


@pytest.fixture(scope="module", name="photos")
def photos_fixture():
  random = np.random.default_rng(0)
  return [random.integers(0, 256, (40, 20, 3), np.uint8) for _ in range(7)]


def moved(before, after, collection):
  """Names of the arrays that differ."""
  flat = (jax.tree.leaves_with_path(e.run.variables) for e in (before, after))
  names = set()
  for (path, one), (_, other) in zip(*flat, strict=True):
    if path[0].key == collection and np.any(one != other):
      names.add(path[-1].key)
  return names


def test_it_is_offered_at_the_top():
  from metabin_jax.runtime import adapt_extractor

  assert metabin_jax.adapt is adapt_extractor.adapt


def test_the_given_one_stays_and_the_card_tells(bnta, photos):
  before = bnta(photos)
  weights = jax.tree.map(np.copy, bnta.run.variables)
  adapted = metabin_jax.adapt(bnta, photos)
  np.testing.assert_array_equal(bnta(photos), before)
  for old, new in zip(
    *map(jax.tree.leaves, (weights, bnta.run.variables)), strict=True
  ):
    np.testing.assert_array_equal(old, new)
  assert "adapted" not in bnta.card
  assert np.abs(adapted(photos) - before).max() > 1e-5
  assert adapted.card["adapted"] == {
    "by": "BNTA on the gallery moved bn (mean+var+scale+bias) by "
    "position+match, adam 0.0005, 1 x 128 pairs at most, seed 0",
    "images": 7,
    "pairs": 3,
    "steps": 1,
  }
  assert adapted.card["model"]["sha256"] != CARD["model"]["sha256"]
  assert adapted.card["model"]["run"] == "tiny"
  assert (adapted.batch_size, adapted.flip) == (4, True)


def test_an_adapted_one_is_refused(metabin, photos):
  here = metabin_jax.adapt(metabin, photos)
  with pytest.raises(UserError, match=r"is adapted already .BNTA on the gall"):
    metabin_jax.adapt(here, photos)


@pytest.mark.parametrize("model", ["runs/a", None])
def test_what_is_no_extractor_is_refused(photos, model):
  with pytest.raises(UserError, match=r"Extractor\.from_checkpoint.WORKDIR."):
    metabin_jax.adapt(model, photos)


def test_a_run_that_is_scored_by_adabn_can_be_adapted(photos):
  model = make_extractor("none", **{"eval.adapt_bn": "gallery"})
  assert metabin_jax.adapt(model, photos[:2]).card["adapted"]["pairs"] == 1


def test_pictures_of_one_palette_index_are_told_apart(metabin):
  pictures = []
  for colour in ((255, 0, 0), (0, 255, 0)):
    picture = Image.new("P", (20, 40))
    picture.putpalette(list(colour))
    pictures.append(picture)
  adapted = metabin_jax.adapt(metabin, pictures)
  assert adapted.card["adapted"]["images"] == 2
  with pytest.raises(UserError, match=r"2 images .* and all are the same"):
    metabin_jax.adapt(metabin, [pictures[0], pictures[0].copy()])


def test_order_and_repetitions_mean_nothing(bnta, photos):
  once = metabin_jax.adapt(bnta, photos)
  again = metabin_jax.adapt(bnta, [*photos[::-1], photos[2]])
  assert once.card == again.card
  np.testing.assert_array_equal(once(photos), again(photos))


def test_files_arrays_and_channel_orders_are_the_same_images(
  bnta, photos, tmp_path
):
  paths = []
  for number, photo in enumerate(photos):
    paths.append(tmp_path / f"{number}.png")
    Image.fromarray(photo).save(paths[-1])

  def load(names):
    return np.stack([load_image(name, 32, 16) for name in names])

  want = adaptation.adapt(
    bnta.run.network,
    bnta.run.variables,
    load,
    [str(path) for path in paths],
    batch_size=4,
  ).variables
  found = metabin_jax.adapt(bnta, paths).run.variables
  for one, other in zip(*map(jax.tree.leaves, (want, found)), strict=True):
    np.testing.assert_array_equal(one, other)
  # Arrays are named by their content: the same pairs in another order.
  mirrored = [photo[:, :, ::-1] for photo in photos]
  for adapted in (
    metabin_jax.adapt(bnta, photos),
    metabin_jax.adapt(bnta, mirrored, order="BGR"),
  ):
    jax.tree.map(
      lambda one, two: np.testing.assert_allclose(
        one, two, rtol=1e-5, atol=1e-6
      ),
      want["batch_stats"],
      adapted.run.variables["batch_stats"],
    )


@pytest.mark.parametrize(
  ("groups", "params", "balance", "stats"),
  [
    (("bn",), {"bn_scale", "bn_bias"}, set(), {"mean", "var"}),
    (("in",), {"in_scale", "in_bias"}, set(), set()),
    (("rho",), set(), {"rho"}, set()),
    (
      ("bn", "in", "rho"),
      {"bn_scale", "bn_bias", "in_scale", "in_bias"},
      {"rho"},
      {"mean", "var"},
    ),
  ],
)
def test_metabin_without_heads(metabin, photos, groups, params, balance, stats):
  adapted = metabin_jax.adapt(metabin, photos, groups=groups)
  assert "by match," in adapted.card["adapted"]["by"]
  assert moved(metabin, adapted, "params") == params
  assert moved(metabin, adapted, "balance") == balance
  assert moved(metabin, adapted, "batch_stats") == stats


@pytest.mark.parametrize(
  ("choices", "message"),
  [
    ({"group": ("bn",)}, "no choice 'group' .did you mean 'groups'"),
    ({"images_of": "all"}, "no choice 'images_of'"),
    ({"groups": ("bm",)}, "bm"),
    ({"lr": -1.0}, "lr"),
    ({"losses": ("position",)}, "part heads"),
  ],
)
def test_wrong_choices(metabin, photos, choices, message):
  with pytest.raises(UserError, match=message):
    metabin_jax.adapt(metabin, photos, **choices)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(metabin, photos, count):
  with pytest.raises(UserError, match="give it at least 2"):
    metabin_jax.adapt(metabin, photos[:count])


def test_images_that_are_none(metabin, photos):
  with pytest.raises(UserError, match=r"want .H, W, 3."):
    metabin_jax.adapt(metabin, [*photos, photos[0][:, :, 0]])
