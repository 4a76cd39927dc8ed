"""Weights and images behind the golden arrays, regenerated from text keys.

The producer and these tests draw every tensor from a generator seeded by the
CRC-32 of a text key, so no weights and no images have to be stored.
"""

from __future__ import annotations

import pathlib
import zlib
from typing import NamedTuple

import numpy as np

FOLDER = pathlib.Path(__file__).parent
# Our arm -> the reference's name of it.
NORMS = {
  "bn": "BN",
  "in": "IN",
  "bin_half": "BIN_half",
  "bin_shared": "BIN_gate1",
  "bin": "BIN_gate2",
  "dualnorm_metabin": "DualNorm",
}
PIXEL_MEAN = [255 * v for v in (0.485, 0.456, 0.406)]
PIXEL_STD = [255 * v for v in (0.229, 0.224, 0.225)]


class Batch(NamedTuple):
  """Rows of one batch."""

  image: np.ndarray  # uint8 [B, H, W, 3]
  pid: np.ndarray  # int32 [B]
  domain: np.ndarray  # int32 [B]

  def rows(self, mask: np.ndarray) -> Batch:
    return Batch(*(field[mask] for field in self))


def load(name: str):
  """A golden file of this folder, its arrays read on demand."""
  return np.load(FOLDER / name)


def generator(key: str) -> np.random.Generator:
  return np.random.default_rng(zlib.crc32(key.encode()))


def value(key: str, shape, gates: str = "uniform") -> np.ndarray:
  """The float64 value of one tensor; the first rule that fits counts."""
  random = generator(key)
  shape = tuple(shape)
  if key == "pixel_mean":
    return np.array(PIXEL_MEAN).reshape(shape)
  if key == "pixel_std":
    return np.array(PIXEL_STD).reshape(shape)
  if key.endswith("num_batches_tracked"):
    return np.zeros((), np.int64)
  if key.endswith(".gate"):
    return (
      np.ones(shape) if gates == "ones" else random.uniform(0.2, 0.8, shape)
    )
  if key.endswith(".running_var"):
    return np.exp(0.1 * random.standard_normal(shape))
  noise = random.standard_normal(shape)
  if key.endswith(".running_mean"):
    return 0.1 * noise
  if key == "heads.classifier_fc.weight":
    return 0.05 * noise
  if key.endswith(".weight") and len(shape) == 4:
    return noise * np.sqrt(2 / np.prod(shape[1:]))
  return 1 + 0.1 * noise if key.endswith(".weight") else 0.1 * noise


def key_shapes(
  network: str, norm: str = "bin", classes: int = 20
) -> dict[str, tuple[int, ...]]:
  """Ordered keys and shapes of a reference state dict."""
  name = network if norm == "bin" else f"{network}_{NORMS[norm]}"
  with load("keys.npz") as file:
    keys, shapes = file[f"{name}/keys"], file[f"{name}/shapes"]
  found = {
    str(key): tuple(int(n) for n in shape if n >= 0)
    for key, shape in zip(keys, shapes, strict=True)
  }
  classifier = "heads.classifier_fc.weight"
  return found | {classifier: (classes, *found[classifier][1:])}


def state_dict(
  network: str, norm: str = "bin", gates: str = "uniform", classes: int = 20
) -> dict[str, np.ndarray]:
  """A whole reference state dict."""
  shapes = key_shapes(network, norm, classes)
  return {key: value(key, shape, gates) for key, shape in shapes.items()}


def image(
  name: str, tag: str, row: int, pid: int, domain: int, height: int, width: int
) -> np.ndarray:
  """One uint8 [height, width, 3] image: person pattern, domain style, noise."""
  person = generator(f"img:{name}:id{pid}").uniform(60, 195, (3, 8, 4))
  style = generator(f"img:{name}:dom{domain}")
  gain = style.uniform(0.4, 1, (3, 1, 1))
  offset = style.uniform(0, 100, (3, 1, 1))
  random = generator(f"img:{name}:{tag}:inst{row}")
  grid = person + 60 * random.standard_normal((3, 8, 4))
  large = np.repeat(np.repeat(grid, height // 8, 1), width // 4, 2)
  noise = 10 * random.standard_normal((3, height, width))
  pixels = np.clip(np.rint(gain * large + offset + noise), 0, 255)
  return pixels.astype(np.uint8).transpose(1, 2, 0)


def forward_batch() -> Batch:
  """The 8 images of 128 x 64 behind c_forward_*."""
  pids = np.repeat(np.arange(4), 2).astype(np.int32)
  domains = np.repeat(np.arange(2), 4).astype(np.int32)
  images = [
    image("c", "c0", i, p, d, 128, 64)
    for i, (p, d) in enumerate(zip(pids, domains, strict=True))
  ]
  return Batch(np.stack(images), pids, domains)


def training_batch(tag: str, domains: int = 5, shared: bool = False) -> Batch:
  """A batch of 2 persons x 2 images of each domain, 64 x 32 pixels.

  Args:
    tag: "base0", "meta0", ...
    domains: number of domains.
    shared: whether all domains show the same 4 persons.
  """
  pids, doms = [], []
  for domain in range(domains):
    for person in generator(f"ids:{tag}:dom{domain}").permutation(4)[:2]:
      first = 0 if shared else 4 * domain
      pids += [first + int(person)] * 2
      doms += [domain] * 2
  images = [
    image("d", tag, i, p, d, 64, 32)
    for i, (p, d) in enumerate(zip(pids, doms, strict=True))
  ]
  return Batch(
    np.stack(images), np.array(pids, np.int32), np.array(doms, np.int32)
  )


def checksum(batch: Batch) -> int:
  """CRC-32 of the images in the producer's [B, 3, H, W] layout."""
  layout = np.ascontiguousarray(batch.image.transpose(0, 3, 1, 2))
  return zlib.crc32(layout.tobytes())


def summary(array: np.ndarray) -> np.ndarray:
  """[mean, L2 norm, first 2 values] of a tensor in the reference's layout."""
  flat = np.asarray(array, np.float64).ravel()
  head = np.pad(flat[:2], (0, max(0, 2 - flat.size)))
  return np.array([flat.mean(), np.linalg.norm(flat), *head])


def relative_error(got, want) -> float:
  """Largest absolute difference over the largest absolute golden value."""
  got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
  if got.shape != want.shape:
    raise AssertionError(f"shape {got.shape}, want {want.shape}")
  scale = np.max(np.abs(want))
  worst = np.max(np.abs(got - want))
  return float(worst / scale if scale > 0 else worst)
