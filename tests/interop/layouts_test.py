"""Names of arrays in torchvision's, timm's and torchreid's files.

What is expected here was written down from these programs' module trees, not
from our code.
"""

from __future__ import annotations

import pytest

from metabin_jax.interop import layouts, matching

BN = ("weight", "bias", "running_mean", "running_var")


def keys(layout, backbone, width=1.0):
  """Key -> shape in PyTorch's order, of our backbone with batch norm."""
  key_of = layouts.LAYOUTS[layout].key_of
  return {
    key_of(path[2:]): matching.torch_shape(shape, False)
    for path, shape in matching.shapes(backbone, "bn", width).items()
    if path[1] == "backbone"
  }


# Entries of the published state dicts: a counter beside each norm and a
# classifier with bias are what we have no array for.
@pytest.mark.parametrize(
  ("layout", "backbone", "norms", "entries"),
  [
    ("torchvision-resnet", "resnet18", 20, 122),
    ("torchvision-resnet", "resnet50", 53, 320),
    ("torchvision-mobilenetv2", "mobilenetv2_standard", 52, 314),
    ("timm-mobilenetv2", "mobilenetv2_standard", 52, 314),
    ("torchreid-mobilenetv2", "mobilenetv2", 53, 320),
  ],
)
def test_number_of_entries(layout, backbone, norms, entries):
  found = keys(layout, backbone)
  assert sum(key.endswith("running_var") for key in found) == norms
  assert len(found) + norms + 2 == entries


def expect(found, convolutions, norms):
  for name, shape in convolutions.items():
    assert found[f"{name}.weight"] == shape
  for name, channels in norms.items():
    for end in BN:
      assert found[f"{name}.{end}"] == (channels,)


def test_resnet():
  found = keys("torchvision-resnet", "resnet50")
  expect(
    found,
    {
      "conv1": (64, 3, 7, 7),
      "layer1.0.conv1": (64, 64, 1, 1),
      "layer1.0.conv2": (64, 64, 3, 3),
      "layer1.0.conv3": (256, 64, 1, 1),
      "layer1.0.downsample.0": (256, 64, 1, 1),
      "layer3.5.conv2": (256, 256, 3, 3),
      "layer4.2.conv3": (2048, 512, 1, 1),
    },
    {
      "bn1": 64,
      "layer1.0.bn3": 256,
      "layer1.0.downsample.1": 256,
      "layer4.2.bn1": 512,
    },
  )


def test_mobilenet_of_torchvision():
  found = keys("torchvision-mobilenetv2", "mobilenetv2_standard")
  expect(
    found,
    {
      "features.0.0": (32, 3, 3, 3),
      "features.1.conv.0.0": (32, 1, 3, 3),
      "features.1.conv.1": (16, 32, 1, 1),
      "features.2.conv.0.0": (96, 16, 1, 1),
      "features.2.conv.1.0": (96, 1, 3, 3),
      "features.2.conv.2": (24, 96, 1, 1),
      "features.17.conv.2": (320, 960, 1, 1),
      "features.18.0": (1280, 320, 1, 1),
    },
    {
      "features.0.1": 32,
      "features.1.conv.0.1": 32,
      "features.1.conv.2": 16,
      "features.2.conv.1.1": 96,
      "features.2.conv.3": 24,
      "features.18.1": 1280,
    },
  )


def test_mobilenet_of_timm():
  found = keys("timm-mobilenetv2", "mobilenetv2_standard", 1.4)
  expect(
    found,
    {
      "conv_stem": (48, 3, 3, 3),
      "blocks.0.0.conv_dw": (48, 1, 3, 3),
      "blocks.0.0.conv_pw": (24, 48, 1, 1),
      "blocks.1.0.conv_pw": (144, 24, 1, 1),
      "blocks.1.1.conv_dw": (192, 1, 3, 3),
      "blocks.3.3.conv_pwl": (88, 528, 1, 1),
      "blocks.6.0.conv_pwl": (448, 1344, 1, 1),
      "conv_head": (1792, 448, 1, 1),
    },
    {
      "bn1": 48,
      "blocks.0.0.bn1": 48,
      "blocks.0.0.bn2": 24,
      "blocks.1.0.bn1": 144,
      "blocks.1.0.bn2": 144,
      "blocks.1.0.bn3": 32,
      "bn2": 1792,
    },
  )


def test_mobilenet_of_torchreid():
  found = keys("torchreid-mobilenetv2", "mobilenetv2", 1.4)
  expect(
    found,
    {
      "conv1.conv": (44, 3, 3, 3),
      "conv2.0.conv1.conv": (44, 44, 1, 1),
      "conv2.0.dwconv2.conv": (44, 1, 3, 3),
      "conv2.0.conv3.0": (22, 44, 1, 1),
      "conv5.3.conv3.0": (89, 534, 1, 1),
      "conv9.conv": (1792, 448, 1, 1),
    },
    {
      "conv1.bn": 44,
      "conv2.0.conv1.bn": 44,
      "conv2.0.conv3.1": 22,
      "conv9.bn": 1792,
    },
  )


def test_no_file_has_the_marks_of_two_layouts():
  files = {
    (layout.name, backbone): {*keys(layout.name, backbone), *layout.heads}
    for layout in layouts.LAYOUTS.values()
    for backbone in layout.backbones
    if backbone in ("resnet18", "resnet50") or "mobilenet" in backbone
  }
  for (name, _), found in files.items():
    fitting = [
      layout.name
      for layout in layouts.LAYOUTS.values()
      if found.issuperset(layout.marks)
    ]
    assert fitting == [name]
