"""Adapted statistics against NumPy's over all inputs of a layer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from metabin_jax import models
from metabin_jax.data.records import Fold, Record
from metabin_jax.evaluation import adabn
from metabin_jax.models import layers
from metabin_jax.models.norms.batch import BatchNorm
from metabin_jax.models.norms.batch_instance import BatchInstanceNorm
from metabin_jax.models.norms.half import HalfNorm
from metabin_jax.models.norms.instance import InstanceNorm
from metabin_jax.models.norms.switchable import SwitchableNorm


class OneNorm(nn.Module):
  """A norm layer right on the pixels."""

  layer: Any = BatchNorm

  @nn.compact
  def __call__(self, x, mode):
    return self.layer(name="norm")(x, mode)


class ThreeNorms(nn.Module):
  """1 x 1 convolutions, each before another norm layer."""

  dtype: Any = jnp.float64

  @nn.compact
  def __call__(self, x, mode):
    for i, norm in enumerate((BatchNorm, BatchInstanceNorm, HalfNorm)):
      x = layers.Conv(4, dtype=self.dtype, name=f"conv{i}")(x)
      x = jnp.tanh(norm(name=f"norm{i}")(x, mode))
    return x


def make(backbone, seed=0):
  """The network and variables of all kinds off their start, in float64."""
  network = models.ReIDNetwork(backbone, num_classes=3, dtype=jnp.float64)
  start = models.init_variables(network, jax.random.key(0), 4, 2)
  random = np.random.default_rng(seed)
  draw = lambda v: random.uniform(0.3, 0.9, v.shape)  # noqa: E731
  return network, jax.tree.map(draw, start)


def images(count, seed=0):
  """Pictures of different brightness and contrast, by their names."""
  random = np.random.default_rng(seed)
  level = random.uniform(20, 120, (count, 1, 1, 3))
  spread = random.uniform(5, 100, (count, 1, 1, 1))
  pixels = level + spread * random.random((count, 4, 2, 3))
  return {str(i): picture for i, picture in enumerate(pixels.astype(np.uint8))}


def loader(pictures, seen=None):
  def load(paths):
    if seen is not None:
      seen.append(list(paths))
    return np.stack([pictures[path] for path in paths])

  return load


def as_input(pictures):
  """What enters the backbone."""
  pixels = np.stack([*pictures.values()]).astype(np.float64)
  return (pixels - models.reid.PIXEL_MEAN) / models.reid.PIXEL_STD


def assert_moments(stats, inputs, rtol=1e-10):
  """Mean and biased variance over everything but channels."""
  axes = tuple(range(inputs.ndim - 1))
  np.testing.assert_allclose(stats["mean"], inputs.mean(axes), rtol, 1e-12)
  np.testing.assert_allclose(stats["var"], inputs.var(axes), rtol, 1e-12)


@pytest.mark.parametrize("size", [1, 3, 4, 6, 12, 100])
def test_one_layer_has_the_moments_of_all_pixels(float64, size):
  network, variables = make(OneNorm())
  pictures = images(12)
  found = adabn.adapt(network, variables, loader(pictures), [*pictures], size)
  stats = found["batch_stats"]["backbone"]["norm"]
  assert_moments(stats, as_input(pictures))
  # Everything else is what it was.
  for name in ("params", "balance"):
    assert found[name] is variables[name]
  assert found.keys() == variables.keys()


def normalize(x, axes, scale, bias):
  mean = x.mean(axes, keepdims=True)
  var = x.var(axes, keepdims=True)
  return scale * (x - mean) / np.sqrt(var + 1e-5) + bias


def forward(variables, x):
  """The inputs of all norm layers when a batch runs by its own moments."""
  params, rho = variables["params"]["backbone"], variables["balance"]
  batch, image = (0, 1, 2), (1, 2)
  inputs = {}

  def affine(layer, branch, part=slice(None)):
    layer = params[layer]
    return [layer[f"{branch}_{kind}"][part] for kind in ("scale", "bias")]

  x = x @ params["conv0"]["kernel"][0, 0]
  inputs["norm0"] = x
  x = np.tanh(normalize(x, batch, *affine("norm0", "bn")))
  x = x @ params["conv1"]["kernel"][0, 0]
  inputs["norm1"] = x
  share = rho["backbone"]["norm1"]["rho"]
  x = np.tanh(
    share * normalize(x, batch, *affine("norm1", "bn"))
    + (1 - share) * normalize(x, image, *affine("norm1", "in"))
  )
  x = x @ params["conv2"]["kernel"][0, 0]
  inputs["norm2"] = x[..., :2]  # the half that is batch norm
  x = np.concatenate(
    [
      normalize(x[..., :2], batch, *affine("norm2", "bn")),
      normalize(x[..., 2:], image, *affine("norm2", "in")),
    ],
    axis=-1,
  )
  inputs["neck"] = np.tanh(x).mean(image)
  return inputs


@pytest.mark.parametrize(
  ("count", "size", "used"), [(12, 4, 12), (11, 4, 8), (3, 4, 3), (1, 4, 1)]
)
def test_every_layer_has_the_moments_of_its_inputs(float64, count, size, used):
  network, variables = make(ThreeNorms())
  pictures, seen = images(count), []
  load = loader(pictures, seen)
  found = adabn.adapt(network, variables, load, [*pictures], size)
  assert [path for batch in seen for path in batch] == [*pictures][:used]
  x = as_input(pictures)[:used]
  size = min(size, count)
  batches = [
    forward(variables, x[start : start + size])
    for start in range(0, used, size)
  ]
  stats = dict(found["batch_stats"]["backbone"])
  stats["neck"] = found["batch_stats"]["neck"]
  assert stats.keys() == batches[0].keys()
  for layer, moments in stats.items():
    inputs = np.concatenate([batch[layer] for batch in batches])
    assert_moments(moments, inputs, rtol=1e-8)


def test_a_variance_that_is_stored_as_it_is(float64):
  """Switchable norm: of each image the unbiased variance, corrected once."""
  network, variables = make(OneNorm(SwitchableNorm))
  pictures = images(12)
  found = adabn.adapt(network, variables, loader(pictures), [*pictures], 4)
  x = as_input(pictures)
  means = x.mean((1, 2))
  want = x.var((1, 2), ddof=1).mean(0) + means.var(0)
  stats = found["batch_stats"]["backbone"]["norm"]
  np.testing.assert_allclose(stats["mean"], means.mean(0), 1e-10, 1e-12)
  np.testing.assert_allclose(stats["var"], want, 1e-10)


def test_float32_and_real_layers():
  network = models.create("resnet18", norm="bin", num_classes=3, width=0.125)
  variables = models.init_variables(network, jax.random.key(0), 32, 16)
  random = np.random.default_rng(0)
  pictures = {
    str(i): random.integers(0, 256, (32, 16, 3), np.uint8) for i in range(6)
  }
  args = (network, variables, loader(pictures), [*pictures])
  once = adabn.adapt(*args, 3)["batch_stats"]
  assert jax.tree.structure(once) == jax.tree.structure(
    variables["batch_stats"]
  )
  for new, old in zip(
    jax.tree.leaves(once),
    jax.tree.leaves(variables["batch_stats"]),
    strict=True,
  ):
    assert new.dtype == old.dtype == np.float32
    assert new.shape == old.shape
    assert (new != np.asarray(old)).any()
  # Statistics before do not matter, and the same images give the same bits.
  other = {
    **variables,
    "batch_stats": jax.tree.map(lambda v: v + 5, variables["batch_stats"]),
  }
  again = adabn.adapt(network, other, *args[2:], 3)["batch_stats"]
  for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(again), strict=True):
    assert a.tobytes() == b.tobytes()


def test_a_constant_channel_far_from_zero_keeps_a_variance_of_zero(float64):
  network, variables = make(OneNorm())
  pictures = {str(i): np.full((4, 2, 3), 255, np.uint8) for i in range(6)}
  found = adabn.adapt(network, variables, loader(pictures), [*pictures], 2)
  stats = found["batch_stats"]["backbone"]["norm"]
  assert np.abs(stats["var"]).max() < 1e-20
  assert (stats["var"] >= 0).all()


def test_without_batch_norm_only_the_neck_adapts(float64):
  network, variables = make(OneNorm(InstanceNorm))
  pictures = images(4)
  found = adabn.adapt(network, variables, loader(pictures), [*pictures], 4)
  assert found["batch_stats"].keys() == {"neck"}
  pooled = network.apply(
    variables, np.stack([*pictures.values()]), mode="eval"
  ).pooled
  assert_moments(found["batch_stats"]["neck"], np.asarray(pooled), rtol=1e-6)


def fold():
  def record(name):
    return Record(f"/x/{name}", name, 0, "x")

  gallery = [record(f"g{i:02}") for i in range(30)]
  query = [record(f"q{i:02}") for i in range(10)]
  # One image is both, another stands in the gallery twice.
  return Fold("0", (*query, gallery[3]), (*gallery, gallery[5]))


def test_chosen_images_are_mixed_alike_always():
  chosen = adabn.choose_paths(fold(), "gallery")
  assert sorted(chosen) == [f"/x/g{i:02}" for i in range(30)]
  assert chosen != sorted(chosen)
  # Half of the first half comes from the second half, more or less.
  assert 4 <= sum(path < "/x/g15" for path in chosen[:15]) <= 11
  back = Fold("0", fold().query[::-1], fold().gallery[::-1])
  for name in ("gallery", "all"):
    assert adabn.choose_paths(back, name) == adabn.choose_paths(fold(), name)
  everything = adabn.choose_paths(fold(), "all")
  assert len(everything) == 40
  assert set(everything) > set(chosen)


def test_mistakes():
  with pytest.raises(ValueError, match="images is 'none', want one of"):
    adabn.choose_paths(fold(), "none")
  with pytest.raises(ValueError, match="there is no image"):
    adabn.adapt(None, {}, None, [], 4)
