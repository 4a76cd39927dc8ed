"""Tests of the embedded benchmark: what is drawn."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabin_jax.data import synthetic
from metabin_jax.data.synthetic import (
  colours,
  contact_sheet,
  figure,
  illuminant,
  people,
  pose,
  presets,
  render,
  style,
  tube,
)

TINY = presets.PRESETS["tiny"]
QUICK = presets.PRESETS["quick"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  root = tmp_path_factory.mktemp("synthetic")
  return synthetic.ensure("tiny", root, workers=1, progress=False)


def read_manifest(manifest):
  with open(manifest, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


class TestPictures:
  def test_files_are_rgb_jpegs_of_the_stated_size(self, tiny):
    for row in read_manifest(tiny):
      with Image.open(tiny.parent / row["path"]) as image:
        image.load()
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == (TINY.width, TINY.height)

  def test_frames_cameras_and_identities_all_differ(self):
    shots = [(0, 1, 0, 0), (0, 1, 0, 1), (0, 1, 1, 0), (0, 2, 0, 0)]
    pictures = [render.render_image(TINY, *shot) for shot in shots]
    for a, b in itertools.combinations(pictures, 2):
      assert np.abs(a.astype(int) - b).mean() > 2

  def test_seed_decides(self):
    other = dataclasses.replace(TINY, seed=TINY.seed + 1)
    a = render.render_image(TINY, 3, 1, 0, 0)
    np.testing.assert_array_equal(a, render.render_image(TINY, 3, 1, 0, 0))
    assert np.any(a != render.render_image(other, 3, 1, 0, 0))

  def test_domains_differ_more_than_the_cameras_of_a_domain(self, tiny):
    sums = collections.defaultdict(list)
    for row in read_manifest(tiny):
      pixels = np.asarray(Image.open(tiny.parent / row["path"]), np.float64)
      sums[row["domain"], row["camid"]].append(pixels.mean(axis=(0, 1)))
    means = {key: np.mean(value, axis=0) for key, value in sums.items()}

    def gap(pairs):
      return np.mean([np.linalg.norm(means[a] - means[b]) for a, b in pairs])

    pairs = list(itertools.combinations(means, 2))
    inside = gap([(a, b) for a, b in pairs if a[0] == b[0]])
    between = gap([(a, b) for a, b in pairs if a[0] != b[0]])
    assert between > 1.3 * inside

  def test_clothes_keep_their_colour_over_cameras(self):
    campus = list(style.DOMAINS).index("campus")
    crowd = {
      pid: people.create_person(QUICK.seed, campus, pid)
      for pid in range(1, 200)
    }
    plain = {
      pid: person
      for pid, person in crowd.items()
      if person.pattern == "plain" and person.bag == "none"
    }

    def redness(names):
      values = []
      for pid, person in plain.items():
        if person.upper_name in names and person.upper != "open jacket":
          for camera in range(QUICK.source_cameras):
            chest = np.concatenate(
              [
                render.render_image(QUICK, campus, pid, camera, frame)[
                  36:56, 26:38
                ].astype(float)
                for frame in range(2)
              ]
            )
            red, green, blue = np.median(chest, axis=(0, 1))
            values.append(red - (green + blue) / 2)
      assert values
      return values

    # In every camera a red coat is redder than every blue one.
    assert min(redness(("red", "burgundy", "orange"))) > max(
      redness(("blue", "navy", "light blue"))
    )

  def test_logo_is_seen_from_the_front_only(self):
    person = dataclasses.replace(
      people.create_person(0, 0, 0),
      upper="t-shirt",
      pattern="logo",
      bag="none",
      hair="short",
      leg_mark="none",
      lower_colour=(20, 20, 20),
      upper_colour=(20, 20, 20),
      accent_colour=(20, 240, 20),
    )

    def green(yaw):
      layer = tube.create_layer(256, 128, (0.0, -0.6, 0.8), 0.5)
      figure.draw_figure(
        layer, person, pose.View(yaw, 0.1, 0.0, 0.1, 220, 64, 245)
      )
      red, middle, _ = np.moveaxis(layer.rgb, -1, 0)
      return int(np.sum((middle > 0.2) & (red < 0.5 * middle)))

    assert green(0.0) > 150
    assert green(math.pi) == 0


class TestPeople:
  def test_attributes_are_those_of_the_identity(self):
    a = people.create_person(5, 2, 9)
    assert a == people.create_person(5, 2, 9)
    assert a != people.create_person(5, 3, 9)
    assert a != people.create_person(5, 2, 10)
    assert a != people.create_person(6, 2, 9)

  def test_colour_alone_does_not_tell_people_apart(self):
    crowd = [people.create_person(0, 0, pid) for pid in range(64)]
    outfits = collections.Counter((p.upper_name, p.lower_name) for p in crowd)
    alike = sum(number for number in outfits.values() if number > 1)
    assert alike >= 20
    shapes = {(p.upper, p.pattern, p.lower, p.bag, p.hair) for p in crowd}
    assert len(shapes) >= 60

  def test_palette_entry_explains_the_colour(self):
    for pid in range(50):
      person = people.create_person(1, 0, pid)
      entry = colours.CLOTHES[person.upper_name][0]
      assert np.abs(np.subtract(entry, person.upper_colour)).max() < 50


class TestStyle:
  def test_illuminant_matches_the_tables(self):
    # Black body at 6,500 K and illuminant A, CIE 15:2004.
    np.testing.assert_allclose(
      illuminant.planckian_xy(6500), (0.3135, 0.3237), atol=1e-3
    )
    np.testing.assert_allclose(
      illuminant.planckian_xy(2856), (0.4476, 0.4074), atol=1e-3
    )

  def test_white_balance_removes_the_cast(self):
    np.testing.assert_allclose(illuminant.channel_gains(2200, 1.0, 0.0), 1.0)
    red, _, blue = illuminant.channel_gains(2200, 0.5, 0.0)
    assert red > 1.2
    assert blue < 0.6
    assert illuminant.channel_gains(12000, 0.5, 0.0)[2] > 1.1

  def test_cast_keeps_the_luma(self):
    gains = illuminant.channel_gains(3000, 0.3, 0.2, 20.0)
    assert gains @ [0.2126, 0.7152, 0.0722] == pytest.approx(1.0)

  def test_stated_size_of_the_camera_cast(self):
    # 41 mired are 0.37 EV of blue against green, as the docs say.
    gains = illuminant.channel_gains(6500, 1.0, 0.0, style.MIRED_HALF_RANGE)
    assert np.log2(gains[1] / gains[2]) == pytest.approx(0.37, abs=0.02)

  def test_cameras_stay_within_the_stated_range(self):
    for domain, base in enumerate(style.DOMAINS.values()):
      looks = [style.camera_style(0, domain, camera) for camera in range(20)]
      for look in looks:
        error = abs(look.exposure - base.exposure)
        assert error <= style.EXPOSURE_HALF_RANGE
        assert abs(look.mired_error) <= style.MIRED_HALF_RANGE
      assert len({look.exposure for look in looks}) == 20

  def test_five_sources_and_four_targets(self):
    assert (len(style.SOURCES), len(style.TARGETS)) == (5, 4)
    assert not set(style.SOURCES) & set(style.TARGETS)


def test_docs_state_the_styles_as_they_are():
  page = Path(__file__).parents[2] / "docs" / "synthetic.md"
  table = {}
  for line in page.read_text("utf-8").splitlines():
    cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
    if cells[0] in style.DOMAINS and len(cells) == 16:
      table[cells[0]] = [float(cell) for cell in cells[1:]]
  for name, look in style.DOMAINS.items():
    assert table[name] == list(dataclasses.astuple(look))[:15]


def test_contact_sheet_is_written(tmp_path):
  out = tmp_path / "sheet.jpg"
  contact_sheet.main(["--out", str(out), "--preset=tiny", "--identities=1"])
  with Image.open(out) as image:
    assert image.format == "JPEG"
    assert image.height > 9 * TINY.height
  assert os.listdir(tmp_path) == ["sheet.jpg"]
