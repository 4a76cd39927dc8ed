from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from metabin_jax import models
from metabin_jax.models import registry
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.instance import InstanceNorm

SITE = registry.Site("norm", "resnet", 1)


@pytest.fixture(autouse=True)
def _registry_as_it_was(monkeypatch):
  registry.norms()  # loads our own arms, which must outlive the copy
  monkeypatch.setattr(registry, "_norms", dict(registry._norms))
  monkeypatch.setattr(registry, "_backbones", dict(registry._backbones))


class Double(nn.Module):
  """A layer that no arm of ours has."""

  @nn.compact
  def __call__(self, x, mode):
    return 2 * x


class Triple(nn.Module):
  @nn.compact
  def __call__(self, x, mode):
    return 3 * x


def apply(norm, site, function=registry.apply_at):
  """What an arm makes of ones at a site."""

  class Host(nn.Module):
    @nn.compact
    def __call__(self, x):
      return function(norm, site, "layer", x, "hold")

  ones = jnp.ones((1, 2, 2, 3))
  return Host().apply({}, ones)[0, 0, 0, 0]


def test_a_layer_stands_at_norm_sites_alone():
  registry.register_norm("double", Double)
  assert registry.norms()[-1] == "double"
  registry.check_norm("double")
  assert apply("double", SITE) == 2
  for kind in ("sum", "stage"):
    assert apply("double", SITE._replace(kind=kind)) == 1


def test_a_name_registered_again_is_replaced():
  registry.register_norm("double", Double, balanced=True)
  count = len(registry.norms())
  assert "double" in registry.balanced_norms()
  registry.register_norm("double", Triple)
  assert len(registry.norms()) == count
  assert "double" not in registry.balanced_norms()
  assert apply("double", SITE) == 3


def test_an_arm_may_depend_on_the_site():
  seen = []

  def place(site):
    seen.append(site)
    if site.kind == "norm":
      return Double if site.stage == 0 else Triple
    return Double if site.kind == "stage" and site.stage == 2 else None

  registry.register_norm("sites", place=place)
  sites = [
    registry.Site(kind, "resnet", stage)
    for kind in registry.KINDS
    for stage in (0, 1, 2)
  ]
  assert [apply("sites", site) for site in sites] == [2, 3, 3, 1, 1, 1, 1, 1, 2]
  assert seen == sites


def test_an_arm_must_fill_norm_sites():
  registry.register_norm("empty", place=lambda site: None)
  for kind in ("sum", "stage"):
    assert apply("empty", SITE._replace(kind=kind)) == 1
  with pytest.raises(ValueError, match="norm 'empty' has no layer for Site"):
    apply("empty", SITE)


@pytest.mark.parametrize(
  "options", [{}, {"layer": Double, "place": lambda site: Double}]
)
def test_either_a_layer_or_a_place(options):
  with pytest.raises(ValueError, match="give either a layer or a place"):
    registry.register_norm("double", **options)
  assert "double" not in registry.norms()


def test_unknown_names():
  with pytest.raises(ValueError, match="norm is 'triple', want one of"):
    registry.check_norm("triple")
  for function in (registry.layer_at, registry.norm_at):
    with pytest.raises(ValueError, match="norm is 'triple', want one of"):
      function("triple", SITE, "layer")
  with pytest.raises(ValueError, match=r"backbone is 'vgg', want one of \['"):
    registry.make_backbone(
      "vgg", norm="bn", width=1.0, last_stride=1, dtype=jnp.float32
    )


def test_layers_carry_the_name_they_are_given():
  class Host(nn.Module):
    @nn.compact
    def __call__(self, x):
      registry.norm_at("bn", SITE, "first")(x, "hold")
      return registry.norm_at("in", SITE, "second")(x, "hold")

  variables = Host().init(jax.random.key(0), jnp.ones((1, 2, 2, 3)))
  assert set(variables["params"]) == {"first", "second"}
  assert registry.layer_at("bn", SITE._replace(kind="sum"), "none") is None


def test_own_arms_and_backbones():
  assert set(registry.norms()) >= {
    "bn",
    "in",
    "bin",
    "bin_half",
    "bin_shared",
    "switchable",
    "ibn_a",
    "ibn_b",
    "dualnorm",
    "dualnorm_metabin",
    "snr",
  }
  assert set(registry.balanced_norms()) == {"bin", "bin_shared"}
  assert set(registry.backbones()) >= {"mobilenetv2", "resnet18", "resnet152"}


class Pooling(nn.Module):
  """A backbone of one convolution's worth: 4 x 4 pixels to one."""

  norm: str
  width: float
  last_stride: int
  dtype: object

  @property
  def feature_dim(self):
    return 3

  @nn.compact
  def __call__(self, x, mode):
    x = nn.avg_pool(x, (4, 4), (4, 4))
    site = registry.Site("norm", "pooling", 0)
    return self.width * registry.norm_at(self.norm, site, "bn")(x, mode)


def test_a_backbone_of_the_users():
  registry.register_backbone("pooling", Pooling)
  assert "pooling" in registry.backbones()
  network = models.create("pooling", norm="in", num_classes=2, width=0.5)
  assert network.backbone == Pooling("in", 0.5, 1, jnp.float32)
  variables = models.init_variables(network, jax.random.key(0), 8, 8)
  assert set(variables["params"]["backbone"]["bn"]) == {"in_scale", "in_bias"}
  images = np.zeros((2, 8, 8, 3), np.uint8)
  outputs = network.apply(variables, images, mode="eval")
  assert outputs.pooled.shape == (2, 3)
  assert outputs.aux == ()


def test_last_stride_reaches_the_backbone():
  registry.register_backbone("pooling", Pooling)
  network = models.create("pooling", norm="bn", num_classes=2, last_stride=2)
  assert network.backbone.last_stride == 2
  with pytest.raises(ValueError, match="last_stride is 3, want 1 or 2"):
    models.create("pooling", norm="bn", num_classes=2, last_stride=3)


def test_our_arms_put_layers_where_networks_have_them():
  """Every arm answers for every site of every family of ours."""
  for family in ("resnet", "mobilenetv2", "osnet"):
    for norm in ("bn", "switchable", "ibn_a", "ibn_b", "dualnorm", "snr"):
      for stage in range(4):
        site = registry.Site("norm", family, stage)
        assert registry._norms[norm].place(site) is not None
  shallow = registry.Site("sum", "resnet", 1)
  assert registry._norms["dualnorm"].place(shallow) is InstanceNorm
  assert registry._norms["dualnorm"].place(SITE) is BatchNorm
