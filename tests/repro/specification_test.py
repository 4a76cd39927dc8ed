"""Tests of Table S1's counts and measurements."""

from __future__ import annotations

import pytest

from metabin_jax.errors import UserError
from metabin_jax.repro import specification

# Embedding, norm layers, rho, parameters as the paper counts, neck, classifier
# of 18,530 persons; counted on the published code.
COUNTS = {
  "MobileNetV2 x1.0": (1280, 53, 17088, 2259136, 2560, 23718400),
  "MobileNetV2 x1.4": (1792, 53, 23822, 4339248, 3584, 33205760),
  "ResNet-18": (512, 20, 4800, 11186112, 1024, 9487360),
  "ResNet-34": (512, 36, 8512, 21301696, 1024, 9487360),
  "ResNet-50": (2048, 53, 26560, 23561152, 4096, 37949440),
  "ResNet-101": (2048, 104, 52672, 42605504, 4096, 37949440),
  "ResNet-152": (2048, 155, 75712, 58295232, 4096, 37949440),
}
SMALL = {"height": 32, "width": 16, "repeats": 2}


@pytest.fixture(name="rows", scope="module")
def rows_fixture():
  return specification.measure(("ResNet-18",), batch=2, **SMALL)


def test_counts_are_the_published_code_s(rows):
  assert {
    row["backbone"]: (
      row["embedding_dim"],
      row["norm_layers"],
      row["num_rho"],
      row["parameters"],
      row["neck_parameters"],
      row["classifier_parameters"],
    )
    for row in rows
  } == COUNTS


def test_counts_round_to_the_published_millions(rows):
  for row in rows:
    assert row["parameters"] / 1e6 == pytest.approx(
      row["published_millions"], abs=0.0051
    )


def test_only_what_was_asked_for_is_run(rows):
  timed = {row["backbone"] for row in rows if "seconds_per_image" in row}
  assert timed == {"ResNet-18"}


def test_measurements(rows):
  row = rows[2]
  # Weights, rho, neck and running statistics in float32, and the images; the
  # classifier is no part of retrieval.
  floats = 11186112 + 4800 + 1024 + 2 * 4800 + 2 * 512
  images = 2 * 32 * 16 * 3
  assert row["argument_bytes"] == pytest.approx(4 * floats + images, rel=1e-3)
  assert row["scratch_bytes"] > 0
  # Two operations a multiply-add; the paper's size has 64 times the pixels of
  # this one. ResNet-18 with last stride 1 at 256x128: about 1.6 GMAC.
  assert 64 * row["flops_per_image"] == pytest.approx(2 * 1.6e9, rel=0.3)
  assert 0 < row["seconds_per_image"] < 60
  assert (row["batch"], row["repeats"]) == (2, 2)
  assert row["cores"] >= 1


def test_markdown_has_a_line_a_network_and_says_on_what(rows):
  text = specification.to_markdown(rows)
  lines = text.splitlines()
  assert lines[2].startswith(
    "| MobileNetV2 x1.0 | 1,280 | 53 | 17,088 | 2,259,1"
  )
  assert lines[2].endswith("| - | - | - | - |")
  assert "| 44.8 |" in lines[4]
  assert len({line.count("|") for line in lines[:9]}) == 1
  assert "2 images of 32x16, median of 2 calls; cpu" in text
  counted = [
    {key: row[key] for key in row if key not in ("device", "seconds_per_image")}
    for row in rows
  ]
  assert "median" not in specification.to_markdown(counted)


def test_mistakes():
  with pytest.raises(
    UserError, match="'resnet18' is no row of Table S1; use M"
  ):
    specification.measure(("resnet18",))
  with pytest.raises(UserError, match="repeats is 0; it must be at least 1"):
    specification.measure(repeats=0)
