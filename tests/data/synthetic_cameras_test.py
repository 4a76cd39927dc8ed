"""Tests of the preset whose domains have many cameras, to train and to test."""

from __future__ import annotations

import collections
import dataclasses
import json

import pytest

from metabin_jax.data import checks, readers
from metabin_jax.data.synthetic import camera_listing, dataset, listing, presets

CAMERAS = presets.PRESETS["cameras"]
# The least with two cameras to train on, a query, a match and a distractor.
MICRO = dataclasses.replace(
  CAMERAS,
  name="micro_cameras",
  source_ids=2,
  source_cameras=2,
  source_frames=1,
  target_ids=1,
  target_cameras=2,
  distractor_ids=1,
)


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
  root = tmp_path_factory.mktemp("synthetic")
  return dataset.ensure_preset(MICRO, root, workers=1, progress=False)


def test_stated_counts():
  shots = camera_listing.list_shots(CAMERAS)
  counts = collections.Counter((s.domain_name, s.split) for s in shots)
  assert counts == {
    (domain, split): number
    for domain in ("campus", "station")
    for split, number in (("train", 1536), ("query", 90), ("gallery", 600))
  }
  assert len({shot.path for shot in shots}) == len(shots)


def test_every_person_has_four_images_under_each_of_six_cameras():
  units = collections.Counter(
    (s.identity, s.camera)
    for s in camera_listing.list_shots(CAMERAS)
    if s.split == "train"
  )
  assert set(units.values()) == {4}
  assert len(units) == 2 * 64 * 6


def test_test_part_shows_other_persons():
  parts = collections.defaultdict(set)
  for shot in camera_listing.list_shots(CAMERAS):
    parts[shot.split].add(shot.identity)
  assert not parts["train"] & (parts["query"] | parts["gallery"])
  assert parts["query"] < parts["gallery"]
  assert len(parts["train"]) == 2 * 64
  assert len(parts["query"]) == 2 * 60
  assert len(parts["gallery"]) == 2 * 80


def test_camera_0_asks_and_the_others_answer():
  shots = camera_listing.list_shots(CAMERAS)
  assert {s.camera for s in shots if s.split == "query"} == {0}
  assert {s.camera for s in shots if s.split == "gallery"} == set(range(1, 6))


def test_a_site_has_cameras_and_both_parts():
  site = presets.PRESETS["site"]
  shots = camera_listing.list_shots(site)
  counts = collections.Counter(shot.split for shot in shots)
  # As docs/synthetic.md says.
  assert counts == {"train": 768, "query": 90, "gallery": 600}
  assert {shot.domain_name for shot in shots} == {"dusk"}
  train = [shot for shot in shots if shot.split == "train"]
  tested = {shot.identity for shot in shots if shot.split != "train"}
  assert {shot.camera for shot in train} == set(range(6))
  assert not {shot.identity for shot in train} & tested


def test_other_presets_keep_their_pictures_and_folders(monkeypatch):
  quick = presets.PRESETS["quick"]
  assert camera_listing.list_shots(quick) == listing.list_shots(quick)
  before = [dataset.settings_hash(preset) for preset in (quick, CAMERAS)]
  monkeypatch.setattr(dataset, "_CAMERA_SOURCES", ())
  after = [dataset.settings_hash(preset) for preset in (quick, CAMERAS)]
  assert before[0] == after[0]
  assert before[1] != after[1]


def test_record_names_the_domains_and_their_parts(micro):
  record = json.loads((micro.parent / "dataset.json").read_text("utf-8"))
  assert list(record["counts"]) == ["campus", "station"]
  assert record["sources"] == ["campus", "station"]
  assert record["targets"] == ["campus", "station"]
  assert record["counts"]["campus"] == {
    "identities": 4,
    "cameras": 2,
    "train": 4,
    "query": 2,
    "gallery": 3,
  }


@pytest.mark.parametrize("target", ["station", "campus"])
def test_reads_as_single_source_and_as_supervised(micro, target):
  source = readers.open_dataset(
    f"manifest:{micro}?domains=campus&domain=camera"
  )
  tested = readers.open_dataset(
    f"manifest:{micro}?domains={target}&name={target}"
  )
  report = checks.check_sources([source])
  assert [count.domain for count in report.domains] == [
    "campus/c0",
    "campus/c1",
  ]
  assert [count.num_images for count in report.domains] == [2, 2]
  (fold,) = checks.check_targets([source], [tested])
  assert (fold.num_query, fold.num_valid, fold.num_gallery) == (2, 2, 3)
