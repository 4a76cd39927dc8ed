"""Where each arm puts which layer, by names and numbers of whole networks."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from metabin_jax import models
from metabin_jax.models import registry
from metabin_jax.models.norms import depths


@functools.cache
def shapes(backbone, norm, width=1.0):
  """Shapes of all variables, from abstract evaluation."""
  network = models.create(backbone, norm=norm, num_classes=3, width=width)
  return jax.eval_shape(
    lambda: models.init_variables(network, jax.random.key(0), 64, 32)
  )


def layers(backbone, norm, suffix):
  """{path of the layer: channels} of the parameters with this name."""
  params = shapes(backbone, norm)["params"]
  return {
    "/".join(entry.key for entry in path[:-1]): leaf.size
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    if path[-1].key == suffix
  }


def batch(backbone, norm):
  """Batch norms of the backbone; every network has the neck's beside them."""
  found = layers(backbone, norm, "bn_scale")
  assert (
    found.pop("neck")
    == shapes(backbone, norm)["params"]["neck"]["bn_scale"].size
  )
  return found


def instance(backbone, norm):
  return layers(backbone, norm, "in_scale")


# DualNorm, as published.


def test_dualnorm_on_resnet50():
  assert instance("resnet50", "dualnorm") == {
    "backbone/layer1_2/sum": 256,
    "backbone/layer2_3/sum": 512,
    "backbone/layer3_5/sum": 1024,
  }
  # 54 with the neck.
  assert len(batch("resnet50", "dualnorm")) == 53
  assert batch("resnet50", "dualnorm") == batch("resnet50", "bn")


def test_dualnorm_on_mobilenet():
  found = instance("mobilenetv2", "dualnorm")
  assert found.pop("backbone/layer1/bn") == 32
  counts = {2: (1, 16), 3: (2, 24), 4: (3, 32), 5: (4, 64), 6: (3, 96)}
  assert found == {
    f"backbone/layer{layer}_{block}/sum": channels
    for layer, (blocks, channels) in counts.items()
    for block in range(blocks)
  }
  assert len(found) + 1 == 14
  assert sum(found.values()) + 32 == 736
  bn = batch("mobilenetv2", "dualnorm")
  assert len(bn) + 1 == 53
  plain = batch("mobilenetv2", "bn")
  assert plain.pop("backbone/layer1/bn") == 32
  assert bn == plain
  # The convolution of the stem has no bias: instance norm would remove it.
  stem = shapes("mobilenetv2", "dualnorm")["params"]["backbone"]["layer1"]
  assert set(stem["conv"]) == {"kernel"}
  neck = shapes("mobilenetv2", "dualnorm")["params"]["neck"]
  assert neck["bn_scale"].shape == (1280,)


# What MetaBIN's code calls so; its weights are in golden_forward_test.py.


def test_metabins_dualnorm_on_mobilenet():
  bn = batch("mobilenetv2", "dualnorm_metabin")
  assert {name.split("/")[1][:6] for name in bn} == {
    "layer7",
    "layer8",
    "layer9",
  }
  names = set(instance("mobilenetv2", "dualnorm_metabin"))
  assert names | set(bn) == set(batch("mobilenetv2", "bn"))
  assert not names & set(bn)
  assert len(names) == 1 + 3 * 13


def test_metabins_dualnorm_on_resnet():
  bn = batch("resnet18", "dualnorm_metabin")
  assert {name.split("/")[1][:6] for name in bn} == {"layer4"}
  names = set(instance("resnet18", "dualnorm_metabin"))
  assert "backbone/bn1" in names
  assert names | set(bn) == set(batch("resnet18", "bn"))


# IBN-Net.


def test_ibn_a_on_resnet50():
  found = instance("resnet50", "ibn_a")
  blocks = {1: (3, 32), 2: (4, 64), 3: (6, 128)}
  assert found == {
    f"backbone/layer{stage}_{block}/bn1": channels
    for stage, (count, channels) in blocks.items()
    for block in range(count)
  }
  bn = batch("resnet50", "ibn_a")
  plain = batch("resnet50", "bn")
  assert bn == {
    name: channels - found.get(name, 0) for name, channels in plain.items()
  }


def test_ibn_a_on_mobilenet():
  found = instance("mobilenetv2", "ibn_a")
  assert {name.split("/")[-2] for name in found} == {"conv1"}
  assert {name.split("/")[1][:6] for name in found} == {
    f"layer{n}" for n in range(2, 7)
  }
  assert len(found) == 13
  assert found["backbone/layer2_0/conv1/bn"] == 16


def test_odd_channels_of_ibn_a():
  params = shapes("resnet18", "ibn_a", 0.11)["params"]["backbone"]
  layer = params["layer1_0"]["bn1"]
  assert layer["in_scale"].shape == (3,)
  assert layer["bn_scale"].shape == (4,)


def test_ibn_b_on_resnet50():
  found = instance("resnet50", "ibn_b")
  assert found == {
    "backbone/bn1": 64,
    "backbone/layer1_2/sum": 256,
    "backbone/layer2_3/sum": 512,
  }
  plain = batch("resnet50", "bn")
  del plain["backbone/bn1"]
  assert batch("resnet50", "ibn_b") == plain


def test_ibn_b_on_mobilenet():
  assert instance("mobilenetv2", "ibn_b") == {
    "backbone/layer1/bn": 32,
    "backbone/layer2_0/sum": 16,
    "backbone/layer3_1/sum": 24,
    "backbone/layer4_2/sum": 32,
  }


# SNR and switchable norm.


def test_snr_on_resnet50():
  assert instance("resnet50", "snr") == {
    f"backbone/stage{n}": 128 * 2**n for n in (1, 2, 3, 4)
  }
  assert batch("resnet50", "snr") == batch("resnet50", "bn")
  widths = layers("resnet50", "snr", "squeeze_bias")
  assert list(widths.values()) == [16, 32, 64, 128]


def test_snr_on_mobilenet():
  assert instance("mobilenetv2", "snr") == {
    "backbone/stage2": 24,
    "backbone/stage3": 32,
    "backbone/stage5": 96,
    "backbone/stage7": 320,
  }


def test_weights_of_the_places_of_snr():
  weights = {
    family: [
      layer.loss_weight
      for stage in range(1, 8)
      if (layer := place("snr", "stage", family, stage)) is not None
    ][:count]
    for family, count in (("resnet", 4), ("mobilenetv2", 7), ("osnet", 3))
  }
  assert weights == {
    "resnet": [0.1, 0.1, 0.5, 0.5],
    "mobilenetv2": [0.1, 0.1, 0.5, 0.5],
    "osnet": [0.1, 0.1, 0.5],
  }


def test_switchable_norm_is_everywhere():
  found = layers("resnet18", "switchable", "scale")
  assert found == batch("resnet18", "bn")
  for name in ("mean_weights", "var_weights"):
    kinds = layers("resnet18", "switchable", name)
    assert set(kinds) == set(found)
    assert set(kinds.values()) == {2}
  assert len(jax.tree.leaves(shapes("resnet18", "switchable")["balance"])) == 0


# Any family.


def place(norm, kind, family, stage, **site):
  return registry._norms[norm].place(registry.Site(kind, family, stage, **site))


def test_places_in_osnet():
  """Stages 1 and 2 of 3 are shallow; lone convolutions are no blocks."""
  instance_norm = place("in", "norm", "osnet", 0)
  halves = place("ibn_a", "norm", "resnet", 1, last_position=2)
  for stage in (1, 2, 3):
    first = place("ibn_a", "norm", "osnet", stage, last_position=9)
    assert (first is halves) == (stage < 3)
    assert place("ibn_a", "norm", "osnet", stage) is not halves
    end = place("dualnorm", "sum", "osnet", stage)
    assert (end is instance_norm) == (stage < 3)
    inner = place("dualnorm", "sum", "osnet", stage, last_block=False)
    assert inner is None
    flag = place("dualnorm_metabin", "norm", "osnet", stage)
    assert (flag is instance_norm) == (stage < 3)
  assert place("dualnorm", "norm", "osnet", 0) is not instance_norm
  assert place("ibn_b", "norm", "osnet", 0) is instance_norm
  assert place("ibn_a", "norm", "osnet", 0, last_position=2) is not halves


@pytest.mark.parametrize(
  ("norm", "kind"),
  [
    ("ibn_a", "norm"),
    ("ibn_b", "sum"),
    ("dualnorm", "sum"),
    ("dualnorm_metabin", "norm"),
    ("snr", "stage"),
  ],
)
def test_unknown_families(norm, kind):
  message = (
    f"norm '{norm}' does not know .* family 'vit', only in those of "
    "mobilenetv2, osnet, resnet"
  )
  with pytest.raises(ValueError, match=message):
    place(norm, kind, "vit", 1)


def test_depths_fit_the_backbones():
  for family, stages in (("resnet", 4), ("mobilenetv2", 7), ("osnet", 3)):
    assert 0 < depths.DEPTHS[family].early <= depths.DEPTHS[family].shallow
    assert depths.DEPTHS[family].shallow < stages


@pytest.mark.parametrize(
  ("backbone", "width"), [("resnet18", 0.0625), ("mobilenetv2", 0.125)]
)
@pytest.mark.parametrize("norm", ["ibn_a", "snr"])
def test_narrowest_networks(backbone, width, norm):
  """Down to 2 channels, in bfloat16."""
  network = models.create(
    backbone, norm=norm, num_classes=3, width=width, dtype=jnp.bfloat16
  )
  images = jax.ShapeDtypeStruct((2, 32, 16, 3), jnp.uint8)
  outputs, moved = jax.eval_shape(
    lambda v, x: network.apply(
      v, x, mode="update", mutable=["batch_stats", "aux"]
    ),
    shapes(backbone, norm, width),
    images,
  )
  assert outputs.pooled.shape == (2, network.backbone.feature_dim)
  assert outputs.logits.dtype == jnp.float32
  assert ("aux" in moved) == (norm == "snr")
