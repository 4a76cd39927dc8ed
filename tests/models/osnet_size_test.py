"""Sizes of OSNet and the places of its norms, from abstract evaluation."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import traverse_util
from naive_osnet import INSTANCE

from metabin_jax import models
from metabin_jax.models import layers, osnet, registry


@functools.cache
def shapes(norm, width=1.0):
  """Shapes of the backbone's variables."""
  network = models.create("osnet", norm=norm, num_classes=3, width=width)
  trees = jax.eval_shape(
    lambda: models.init_variables(network, jax.random.key(0), 64, 32)
  )
  return {name: tree.get("backbone", {}) for name, tree in trees.items()}


def channels(norm, name):
  """{layer: channels} of the parameters with this name."""
  found = traverse_util.flatten_dict(shapes(norm)["params"])
  return {"/".join(p[:-1]): v.size for p, v in found.items() if p[-1] == name}


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def by_hand(width=1.0, gates=1):
  """Parameters, multiplications at 256x128 of backbone and bn, by hand.

  Biases count as multiplications, as torchreid counts; it also counts the
  gate that four streams share four times, in both numbers.
  """
  stem, *stages = (int(base * width) for base in (64, 256, 384, 512))
  params = 49 * 3 * stem + 2 * stem
  work = 49 * 3 * stem * 128 * 64
  inputs, pixels = stem, 64 * 32
  for stage, out in enumerate(stages):
    for _ in range(2):
      inner = out // 4
      weights = inputs * inner + 10 * (inner * inner + 9 * inner) + inner * out
      gate = 2 * inner * (inner // 16) + inner // 16 + inner
      params += weights + gates * gate + 2 * (11 * inner + out)
      work += pixels * weights + gates * gate
      if inputs != out:
        params += inputs * out + 2 * out
        work += pixels * inputs * out
      inputs = out
    if stage < 2:
      params += out * out + 2 * out
      work += pixels * out * out
      pixels //= 4
  head = (inputs + 1) * 512
  params += inputs * inputs + 2 * inputs + head + 2 * 512
  return params, work + pixels * inputs * inputs + head


@pytest.mark.parametrize(
  ("width", "millions", "billions"),
  [(1.0, 2.2, 0.98), (0.75, 1.3, 0.57), (0.5, 0.6, 0.27), (0.25, 0.2, 0.08)],
)
def test_published_sizes(width, millions, billions):
  """Table of torchreid's model zoo; no classifier."""
  params, work = by_hand(width, gates=4)
  assert (round(params / 1e6, 1), round(work / 1e9, 2)) == (millions, billions)


def test_parameters():
  assert by_hand(gates=4) == (2_193_616, 978_878_352)
  assert count(shapes("bn")["params"]) == by_hand()[0] == 2_169_508
  assert count(shapes("bn", 0.25)["params"]) == by_hand(0.25)[0] == 201_864
  assert count(shapes("osnet_ibn")["params"]) == 2_169_508 + 2 * (256 + 256)
  assert count(shapes("osnet_ain")["params"]) == 2_169_508


def test_multiplications():
  """Of the layers as they are called, 256x128 pixels."""
  found = []

  def watch(call, args, kwargs, context):
    out = call(*args, **kwargs)
    module = context.module
    if context.method_name == "__call__":
      if isinstance(module, layers.Conv):
        inputs = 1 if module.depthwise else args[0].shape[-1]
        found.append(out.size * inputs * module.size**2)
      elif isinstance(module, nn.Dense):
        found.append(out.size * (args[0].shape[-1] + 1))
    return out

  network = osnet.OSNet(norm="bn")
  with nn.intercept_methods(watch):
    feature = jax.eval_shape(
      lambda v, x: network.apply(v, x, "eval"),
      shapes("bn"),
      jax.ShapeDtypeStruct((1, 256, 128, 3), jnp.float32),
    )
  assert feature.shape == (1, 1, 1, network.feature_dim) == (1, 1, 1, 512)
  assert sum(found) == 978_878_352


@pytest.mark.parametrize("norm", INSTANCE)
def test_where_norms_stand(norm):
  assert channels(norm, "in_scale") == INSTANCE[norm]
  plain = channels("bn", "bn_scale")
  assert (len(plain), sum(plain.values())) == (80, 11520)
  batch = {k: v for k, v in plain.items() if k not in INSTANCE[norm]}
  assert channels(norm, "bn_scale") == batch


def test_metabin_everywhere_but_in_the_head():
  rho = traverse_util.flatten_dict(shapes("bin")["balance"])
  found = {"/".join(path[:-1]): leaf.size for path, leaf in rho.items()}
  expected = dict(channels("bn", "bn_scale"))
  assert expected.pop("head/bn") == 512
  assert found == expected
  assert (len(found), sum(found.values())) == (79, 11008)


def test_sites(monkeypatch):
  """In the order that the module's docstring gives."""
  registry.norms()
  monkeypatch.setattr(registry, "_norms", dict(registry._norms))
  batch_norm = registry._norms["bn"].place
  sites = []

  def place(site):
    sites.append(site)
    return batch_norm(site)

  registry.register_norm("watched", place=place)
  shapes.__wrapped__("watched", 0.25)

  def norm(stage, block=0, position=1, last_position=1, last_block=True):
    return registry.Site(
      "norm", "osnet", stage, block, position, last_position, last_block
    )

  expected = [norm(0)]
  for stage in (1, 2, 3):
    for block in (0, 1):
      positions = [*range(1, 13), *([0] if block == 0 else [])]
      expected += [norm(stage, block, p, 12, block == 1) for p in positions]
      expected.append(norm(stage, block, 1, 1, block == 1)._replace(kind="sum"))
    expected.append(norm(stage)._replace(kind="stage"))
    if stage < 3:
      expected.append(norm(stage, 2, last_block=False))
  assert sites == [*expected, norm(4)]


@pytest.mark.parametrize(
  ("options", "size", "message"),
  [
    ({"width": 0.249}, (64, 32), "width is 0.249, want at least 0.25"),
    ({"last_stride": 2}, (64, 32), "last_stride is 2, want 1: OSNet has no"),
    ({"width": 0.25}, (64, 12), "images are 64x12 pixels, want at least 13x13"),
    ({"width": 0.25}, (12, 64), "images are 12x64 pixels, want at least 13x13"),
  ],
)
def test_refusals(options, size, message):
  network = models.create("osnet", norm="bn", num_classes=3, **options)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(
      lambda: models.init_variables(network, jax.random.key(0), *size)
    )


def test_smallest_images():
  network = models.create("osnet", norm="bn", num_classes=3, width=0.25)
  seen = []

  def watch(call, args, kwargs, context):
    if isinstance(context.module, osnet.Head):
      seen.append(args[0].shape)
    return call(*args, **kwargs)

  with nn.intercept_methods(watch):
    jax.eval_shape(
      lambda: models.init_variables(network, jax.random.key(0), 13, 29)
    )
  assert seen == [(2, 1, 2, 128)]
