"""Embeddings do not depend on batches, padding or repetitions."""

from __future__ import annotations

import types

import jax
import numpy as np
import pytest

from metabin_jax import models
from metabin_jax.evaluation import extract


@pytest.fixture(name="trained", scope="module")
def trained_fixture():
  """A network whose running statistics and rho are not the initial ones."""
  network = models.create("resnet18", norm="bin", num_classes=3, width=0.125)
  variables = models.init_variables(network, jax.random.key(0), 32, 16)
  random = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda v: np.asarray(
      v * random.uniform(0.5, 1.0, v.shape), np.asarray(v).dtype
    ),
    variables,
  )
  return network, variables


@pytest.fixture(name="images", scope="module")
def images_fixture():
  return np.random.default_rng(1).integers(0, 256, (9, 32, 16, 3), np.uint8)


def test_padding_changes_no_bit(trained, images):
  embed = extract.make_embedder(*trained, 7)
  whole = embed(images)  # one batch of seven, one of two and padding
  assert whole.shape == (9, 512 // 8)
  assert whole.dtype == np.float32
  assert np.isfinite(whole).all()
  for count in (1, 3, 7, 8):
    assert embed(images[:count]).tobytes() == whole[:count].tobytes()
  # Nor does it matter what stands beside an image.
  mixed = images[[4, 0, 8]]
  assert embed(mixed).tobytes() == whole[[4, 0, 8]].tobytes()


@pytest.mark.parametrize("count", [3, 9])
def test_several_devices_share_any_number_of_images(trained, images, count):
  """Six images a batch on four devices: eight, and padding."""
  devices = jax.devices()[:4]
  got = extract.make_embedder(*trained, 6, devices=devices)(images[:count])
  want = extract.make_embedder(*trained, 6)(images[:count])
  # Batches of another size round differently.
  np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())


def test_one_device_unless_told(trained, monkeypatch):
  seen = []
  put = jax.device_put
  monkeypatch.setattr(
    jax, "device_put", lambda *args: seen.append(args[1]) or put(*args)
  )
  extract.make_embedder(*trained, 6)
  assert [s.device_set for s in seen] == [{jax.devices()[0]}]


def test_batch_size_changes_rounding_at_most(trained, images):
  parts = {
    size: extract.make_embedder(*trained, size)(images) for size in (1, 7, 128)
  }
  scale = np.abs(parts[7]).max()
  assert scale > 0
  for embeddings in parts.values():
    # Instance norm over the last two pixels magnifies float32 rounding.
    np.testing.assert_allclose(embeddings, parts[7], rtol=0, atol=3e-4 * scale)


def test_images_reach_the_network_as_bytes_and_in_one_shape():
  seen = []

  class Network:
    def apply(self, variables, images, *, mode):
      seen.append((images.dtype, images.shape, mode))
      return types.SimpleNamespace(
        embedding=images.mean((1, 2)) + variables["params"]
      )

  variables = {"params": np.float32(1), "balance": {}, "batch_stats": {}}
  embed = extract.make_embedder(Network(), variables, 4)
  images = np.arange(6 * 2 * 2 * 3, dtype=np.uint8).reshape(6, 2, 2, 3)
  for count in (6, 1, 4):
    np.testing.assert_allclose(
      embed(images[:count]), images[:count].mean((1, 2)) + 1
    )
  # Traced once: later calls reuse the compiled function.
  assert seen == [(np.uint8, (4, 2, 2, 3), "eval")]


def test_other_weights_of_an_equal_network_are_not_compiled_again():
  seen = []

  class Network:
    def __eq__(self, other):
      return isinstance(other, Network)

    def __hash__(self):
      return 1

    def apply(self, variables, images, *, mode):
      seen.append(images.shape)
      return types.SimpleNamespace(
        embedding=images.mean((1, 2)) + variables["params"]
      )

  images = np.zeros((2, 2, 2, 3), np.uint8)
  for weight in (1, 2):
    embed = extract.make_embedder(Network(), {"params": np.float32(weight)}, 2)
    assert (embed(images) == weight).all()
  assert len(seen) == 1


def test_flip_adds_the_mirror_image(trained, images):
  plain = extract.make_embedder(*trained, 3)
  flipped = extract.make_embedder(*trained, 7, flip=True)
  got = flipped(images)
  assert got.dtype == np.float32
  total = plain(images) + plain(images[:, :, ::-1])
  want = total / np.linalg.norm(total, axis=1, keepdims=True)
  # Another batch size rounds differently, see above.
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
  assert np.abs(got - plain(images)).max() > 0.01
  # Mirroring changes nothing but the order of the sum; padding no bit.
  mirrored = flipped(images[:, :, ::-1])
  np.testing.assert_allclose(mirrored, got, rtol=0, atol=1e-4)
  assert flipped(images[:2]).tobytes() == got[:2].tobytes()


def test_flip_by_hand_in_one_program():
  seen = []

  class Network:
    def apply(self, variables, images, *, mode):
      seen.append((images.dtype, images.shape, mode))
      # The left and the right column.
      return types.SimpleNamespace(embedding=images[:, 0, :, 0].astype(float))

  embed = extract.make_embedder(Network(), {}, 2, flip=True)
  images = np.zeros((3, 1, 2, 3), np.uint8)
  images[0, 0, :, 0] = (1, 5)
  images[1, 0, :, 0] = (0, 4)
  got = embed(images)
  half = np.sqrt(0.5)
  np.testing.assert_allclose(got, [[half, half], [half, half], [0, 0]])
  assert seen == [(np.uint8, (4, 1, 2, 3), "eval")]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_files_are_read_once_and_keep_their_order(chunk):
  read = []

  def load(paths):
    read.extend(paths)
    return np.array([int(path) for path in paths], np.uint8)

  embed = lambda images: images[:, None].astype(np.float32)  # noqa: E731
  paths = ["5", "3", "5", "9", "3", "1"]
  got = extract.embed_paths(embed, load, paths, chunk=chunk)
  assert got.tolist() == [[5], [3], [5], [9], [3], [1]]
  assert read == ["5", "3", "9", "1"]
