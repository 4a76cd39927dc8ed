"""The networks of other programs in PyTorch, with their module names.

Written from the architectures, to have files and features to compare with.
"""

from __future__ import annotations

import collections

import torch
from torch import nn

MOBILE = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)


def named(*modules):
  return nn.Sequential(collections.OrderedDict(modules))


def conv(inputs, outputs, size=1, stride=1, groups=1):
  return nn.Conv2d(
    inputs, outputs, size, stride, size // 2, groups=groups, bias=False
  )


def unit(*arguments, act=True, names=("0", "1")):
  """Convolution, norm, ReLU6."""
  outputs = arguments[1]
  parts = [(names[0], conv(*arguments)), (names[1], nn.BatchNorm2d(outputs))]
  if act:
    parts.append(("2", nn.ReLU6()))
  return named(*parts)


class Residual(nn.Module):
  """Adds the input to what `order` names, where the shapes agree."""

  def __init__(self, same, modules, order):
    super().__init__()
    self.same, self.order = same, order
    for name, module in modules.items():
      self.add_module(name, module)

  def forward(self, x):
    y = x
    for step in self.order:
      y = step(y) if callable(step) else getattr(self, step)(y)
    return x + y if self.same else y


def mobile_blocks(stem, make):
  """One block of `make(inputs, hidden, outputs, stride, expands)` each."""
  inputs = stem
  for expansion, outputs, blocks, first in MOBILE:
    for block in range(blocks):
      stride = first if block == 0 else 1
      yield (
        block,
        make(inputs, inputs * expansion, outputs, stride, expansion > 1),
      )
      inputs = outputs


def torchvision_block(inputs, hidden, outputs, stride, expands):
  parts = [unit(inputs, hidden)] if expands else []
  parts += [
    unit(hidden, hidden, 3, stride, hidden),
    conv(hidden, outputs),
    nn.BatchNorm2d(outputs),
  ]
  same = stride == 1 and inputs == outputs
  return Residual(same, {"conv": nn.Sequential(*parts)}, ["conv"])


def torchvision_mobilenet():
  blocks = [block for _, block in mobile_blocks(32, torchvision_block)]
  features = nn.Sequential(unit(3, 32, 3, 2), *blocks, unit(320, 1280))
  tail = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 10))
  return Network({"features": features, "classifier": tail}, ["features"])


def timm_block(inputs, hidden, outputs, stride, expands):
  same = stride == 1 and inputs == outputs
  depthwise = conv(hidden, hidden, 3, stride, hidden)
  norms = [nn.BatchNorm2d(n) for n in (hidden, hidden, outputs)]
  act = nn.functional.relu6
  if not expands:
    modules = {
      "conv_dw": depthwise,
      "bn1": norms[0],
      "conv_pw": conv(hidden, outputs),
      "bn2": norms[2],
    }
    return Residual(same, modules, ["conv_dw", "bn1", act, "conv_pw", "bn2"])
  modules = {
    "conv_pw": conv(inputs, hidden),
    "bn1": norms[0],
    "conv_dw": depthwise,
    "bn2": norms[1],
    "conv_pwl": conv(hidden, outputs),
    "bn3": norms[2],
  }
  order = ["conv_pw", "bn1", act, "conv_dw", "bn2", act, "conv_pwl", "bn3"]
  return Residual(same, modules, order)


def timm_mobilenet():
  stages = []
  for number, block in mobile_blocks(32, timm_block):
    if number == 0:
      stages.append([])
    stages[-1].append(block)
  act = nn.functional.relu6
  modules = {
    "conv_stem": conv(3, 32, 3, 2),
    "bn1": nn.BatchNorm2d(32),
    "blocks": nn.Sequential(*(nn.Sequential(*stage) for stage in stages)),
    "conv_head": conv(320, 1280),
    "bn2": nn.BatchNorm2d(1280),
    "classifier": nn.Linear(1280, 10),
  }
  order = ["conv_stem", "bn1", act, "blocks", "conv_head", "bn2", act]
  return Network(modules, order)


def torchreid_block(inputs, hidden, outputs, stride, expands):
  del expands  # always there
  names = ("conv", "bn")
  modules = {
    "conv1": unit(inputs, hidden, names=names),
    "dwconv2": unit(hidden, hidden, 3, stride, hidden, names=names),
    "conv3": nn.Sequential(conv(hidden, outputs), nn.BatchNorm2d(outputs)),
  }
  same = stride == 1 and inputs == outputs
  return Residual(same, modules, list(modules))


def torchreid_mobilenet():
  stages = []
  for number, block in mobile_blocks(32, torchreid_block):
    if number == 0:
      stages.append([])
    stages[-1].append(block)
  names = ("conv", "bn")
  modules = {"conv1": unit(3, 32, 3, 2, names=names)}
  modules |= {
    f"conv{i}": nn.Sequential(*stage) for i, stage in enumerate(stages, 2)
  }
  modules["conv9"] = unit(320, 1280, names=names)
  order = list(modules)
  return Network(modules | {"classifier": nn.Linear(1280, 10)}, order)


class ResidualUnit(nn.Module):
  """A block of ResNet-18 or ResNet-50."""

  def __init__(self, inputs, planes, stride, bottleneck):
    super().__init__()
    outputs = planes * (4 if bottleneck else 1)
    plan = [(inputs, planes, 3, stride), (planes, planes, 3, 1)]
    if bottleneck:
      plan = [
        (inputs, planes, 1, 1),
        (planes, planes, 3, stride),
        (planes, outputs, 1, 1),
      ]
    self.count = len(plan)
    for i, arguments in enumerate(plan, 1):
      self.add_module(f"conv{i}", conv(*arguments))
      self.add_module(f"bn{i}", nn.BatchNorm2d(arguments[1]))
    self.downsample = None
    if stride != 1 or inputs != outputs:
      self.downsample = unit(inputs, outputs, 1, stride, act=False)

  def forward(self, x):
    y = x
    for i in range(1, self.count + 1):
      y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
      y = torch.relu(y) if i < self.count else y
    return torch.relu(y + (self.downsample(x) if self.downsample else x))


def resnet(depth):
  bottleneck = depth == 50
  blocks = (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)
  modules = {"conv1": conv(3, 64, 7, 2), "bn1": nn.BatchNorm2d(64)}
  order = ["conv1", "bn1", torch.relu, nn.MaxPool2d(3, 2, 1)]
  inputs = 64
  for stage, count in enumerate(blocks, 1):
    units = []
    for block in range(count):
      stride = 2 if stage > 1 and block == 0 else 1
      planes = 32 * 2**stage
      units.append(ResidualUnit(inputs, planes, stride, bottleneck))
      inputs = planes * (4 if bottleneck else 1)
    modules[f"layer{stage}"] = nn.Sequential(*units)
    order.append(f"layer{stage}")
  modules["fc"] = nn.Linear(inputs, 10)
  return Network(modules, order)


class Network(Residual):
  """Images in 0..255 to the pooled feature; all numbers random."""

  def __init__(self, modules, order):
    super().__init__(False, modules, order)
    generator = torch.Generator().manual_seed(0)
    for name, array in [*self.named_parameters(), *self.named_buffers()]:
      if array.ndim == 1:
        # Near what training leaves: scales and variances about 1.
        middle = 0.0 if name.endswith(("bias", "mean")) else 1.0
        with torch.no_grad():
          array.uniform_(-0.3, 0.3, generator=generator).add_(middle)
    self.eval()

  def embed(self, images):
    """uint8 [N, H, W, 3] to float32 [N, D]."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
      return self((x - mean) / std).mean((2, 3)).numpy()
