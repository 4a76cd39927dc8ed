"""How other programs name the weights of our backbones, with plain batch norm.

A layout turns the path of one of our variables, such as ("layer1_0", "bn1",
"bn_scale") below "backbone", into the other program's key. Keys of a classifier
that our networks have no place for are known by name, so that every key of a
file can be accounted for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from metabin_jax.models import mobilenet_v2, resnet

# Our names of a batch norm's arrays -> PyTorch's.
BATCH_NORM = {
  "bn_scale": "weight",
  "bn_bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


class Layout(NamedTuple):
  """The keys of one program for one family of backbones.

  Attributes:
    name: as users write it.
    backbones: ours that it has weights for.
    key_of: path below "backbone" -> key.
    heads: keys of classifiers, which may be there and are not used.
    marks: keys that every file of this layout has and no file of another.
  """

  name: str
  backbones: tuple[str, ...]
  key_of: Callable[[tuple[str, ...]], str]
  heads: tuple[str, ...]
  marks: tuple[str, ...]


def _suffix(name: str) -> str:
  return "weight" if name == "kernel" else BATCH_NORM[name]


def _block(name: str) -> tuple[int, int | None]:
  """layer3_1 -> (3, 1); layer1 -> (1, None)."""
  found = re.fullmatch(r"layer(\d+)(?:_(\d+))?", name)
  assert found is not None  # our own names
  return int(found[1]), None if found[2] is None else int(found[2])


def _resnet(path: tuple[str, ...]) -> str:
  """torchvision's ResNets, and timm's of the same form."""
  places = {"conv": "0", "bn": "1"}  # of a shortcut
  parts = [re.sub(r"^(layer\d+)_(\d+)$", r"\1.\2", part) for part in path[:-1]]
  if len(parts) > 1 and parts[1] == "downsample":
    parts[2] = places[parts[2]]
  return ".".join([*parts, _suffix(path[-1])])


def _torchreid_mobilenet(path: tuple[str, ...]) -> str:
  layer, block = _block(path[0])
  parts = [f"conv{layer}"]
  inner = list(path[1:-1])
  if block is not None:
    parts.append(str(block))
    # The projection is a sequence of two.
    inner = {"conv3": ["conv3", "0"], "bn": ["conv3", "1"]}.get(inner[0], inner)
  return ".".join([*parts, *inner, _suffix(path[-1])])


# Inside an inverted residual: convolution and norm, in order.
_STEPS = ("conv1", "dwconv2", "conv3")


def _steps(name: str, expands: bool) -> tuple[int, bool]:
  """(number of a layer within its block, whether it is the last)."""
  number = _STEPS.index("conv3" if name == "bn" else name)
  return number - (0 if expands else 1), number == len(_STEPS) - 1


def _torchvision_mobilenet(path: tuple[str, ...]) -> str:
  layer, block = _block(path[0])
  end = {"conv": "0", "bn": "1"}
  if block is None:
    feature = 0 if layer == 1 else 1 + sum(_BLOCKS)
    return f"features.{feature}.{end[path[1]]}.{_suffix(path[-1])}"
  feature = 1 + sum(_BLOCKS[: layer - 2]) + block
  number, last = _steps(path[1], expands=layer > 2)
  if last:
    inner = str(number + (path[1] == "bn"))
  else:
    inner = f"{number}.{end[path[2]]}"
  return f"features.{feature}.conv.{inner}.{_suffix(path[-1])}"


_BLOCKS = tuple(blocks for _, _, blocks, _ in mobilenet_v2.STAGES)


def _timm_mobilenet(path: tuple[str, ...]) -> str:
  layer, block = _block(path[0])
  if block is None:
    stem = layer == 1
    names = {
      "conv": "conv_stem" if stem else "conv_head",
      "bn": "bn1" if stem else "bn2",
    }
    return f"{names[path[1]]}.{_suffix(path[-1])}"
  expands = layer > 2
  number, last = _steps(path[1], expands)
  if path[1] == "bn" or (not last and path[2] == "bn"):
    name = f"bn{number + 1}"
  elif expands:
    name = ("conv_pw", "conv_dw", "conv_pwl")[number]
  else:
    name = ("conv_dw", "conv_pw")[number]
  return f"blocks.{layer - 2}.{block}.{name}.{_suffix(path[-1])}"


RESNETS = tuple(f"resnet{depth}" for depth in resnet.DEPTHS)
_LINEAR = ("classifier.weight", "classifier.bias")

LAYOUTS: Mapping[str, Layout] = {
  layout.name: layout
  for layout in (
    Layout(
      "torchvision-resnet",
      RESNETS,
      _resnet,
      # torchreid names its classifier so.
      ("fc.weight", "fc.bias", *_LINEAR),
      ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"),
    ),
    Layout(
      "torchreid-mobilenetv2",
      ("mobilenetv2",),
      _torchreid_mobilenet,
      (*_LINEAR, "fc.weight", "fc.bias"),
      ("conv1.conv.weight", "conv2.0.dwconv2.conv.weight"),
    ),
    Layout(
      "torchvision-mobilenetv2",
      ("mobilenetv2_standard",),
      _torchvision_mobilenet,
      ("classifier.1.weight", "classifier.1.bias"),
      ("features.0.0.weight", "features.1.conv.0.0.weight"),
    ),
    Layout(
      "timm-mobilenetv2",
      ("mobilenetv2_standard",),
      _timm_mobilenet,
      _LINEAR,
      ("conv_stem.weight", "blocks.0.0.conv_dw.weight"),
    ),
  )
}
