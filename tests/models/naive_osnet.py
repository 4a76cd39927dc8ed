"""OSNet from its formulas in NumPy, slow and in float64."""

from __future__ import annotations

import numpy as np
from flax import traverse_util

# Where instance norm stands, as published.
INSTANCE = {
  "bn": {},
  "osnet_ibn": {"conv1/bn": 64, "layer1_0/sum": 256, "layer1_1/sum": 256},
  "osnet_ain": {
    "conv1/bn": 64,
    "layer1_0/conv3/bn": 256,
    "layer1_1/conv3/bn": 256,
    "layer2_1/conv3/bn": 384,
    "layer3_0/conv3/bn": 512,
  },
}


class Naive:
  """The network from its formulas, float64.

  Attributes:
    moved: {layer: batch mean and unbiased variance} of every batch norm.
  """

  def __init__(self, variables, instance, mode):
    self._flat = {
      "/".join(path): np.asarray(leaf, np.float64)
      for tree in ("params", "batch_stats")
      for path, leaf in traverse_util.flatten_dict(variables[tree]).items()
    }
    self._instance = instance
    self._eval = mode == "eval"
    self.moved = {}

  def get(self, name):
    return self._flat[name]

  def norm(self, x, name):
    branch, axes = "bn", (0, 1, 2)
    if name in self._instance:
      branch, axes = "in", (1, 2)
    mean = x.mean(axes, keepdims=True)
    var = x.var(axes, keepdims=True)
    if branch == "bn":
      count = x.size // x.shape[-1]
      self.moved[name] = (mean.ravel(), var.ravel() * count / (count - 1))
      if self._eval:
        mean, var = self.get(f"{name}/mean"), self.get(f"{name}/var")
    x = (x - mean) / np.sqrt(var + 1e-5)
    return x * self.get(f"{name}/{branch}_scale") + self.get(
      f"{name}/{branch}_bias"
    )

  def conv(self, x, name, stride=1):
    """Loops over output pixels; a kernel with one input is depthwise."""
    kernel = self.get(f"{name}/kernel")
    size = kernel.shape[0]
    pad = size // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    out = np.zeros((len(x), height, width, kernel.shape[-1]))
    for i in range(height):
      for j in range(width):
        h, w = i * stride, j * stride
        window = padded[:, h : h + size, w : w + size]
        if kernel.shape[2] == 1:
          out[:, i, j] = (window * kernel[:, :, 0]).sum((1, 2))
        else:
          out[:, i, j] = np.einsum("bhwi,hwio->bo", window, kernel)
    return out

  def conv_norm(self, x, name, stride=1):
    return self.norm(self.conv(x, f"{name}/conv", stride), f"{name}/bn")

  def light(self, x, name):
    x = self.conv(self.conv(x, f"{name}/conv1"), f"{name}/conv2")
    return relu(self.norm(x, f"{name}/bn"))

  def dense(self, x, name):
    return x @ self.get(f"{name}/kernel") + self.get(f"{name}/bias")

  def gate(self, x, name):
    weight = relu(self.dense(x.mean((1, 2)), f"{name}/squeeze"))
    weight = 1 / (1 + np.exp(-self.dense(weight, f"{name}/excite")))
    return x * weight[:, None, None]

  def block(self, x, name):
    first = relu(self.conv_norm(x, f"{name}conv1"))
    total = 0.0
    for depth in (1, 2, 3, 4):
      y = first
      for i in range(depth):
        y = self.light(y, f"{name}stream{depth}_{i}")
      total = total + self.gate(y, f"{name}gate")
    y = self.conv_norm(total, f"{name}conv3")
    if y.shape != x.shape:
      x = self.conv_norm(x, f"{name}downsample")
    y = x + y
    if f"{name}sum" in self._instance:
      y = self.norm(y, f"{name}sum")
    return relu(y)

  def backbone(self, x):
    x = max_pool(relu(self.conv_norm(x, "conv1", 2)))
    for stage in (1, 2, 3):
      for block in (0, 1):
        x = self.block(x, f"layer{stage}_{block}/")
      if stage < 3:
        x = relu(self.conv_norm(x, f"transition{stage}"))
        h, w = x.shape[1] // 2, x.shape[2] // 2
        x = x[:, : 2 * h, : 2 * w].reshape(len(x), h, 2, w, 2, -1)
        x = x.mean((2, 4))
    x = relu(self.conv_norm(x, "conv5")).mean((1, 2), keepdims=True)
    return relu(self.norm(self.dense(x, "head/linear"), "head/bn"))


def relu(x):
  return np.maximum(x, 0)


def max_pool(x):
  """3x3, stride 2."""
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
  height, width = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
  rows = [
    [
      padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2))
      for j in range(width)
    ]
    for i in range(height)
  ]
  return np.moveaxis(np.array(rows), 2, 0)
