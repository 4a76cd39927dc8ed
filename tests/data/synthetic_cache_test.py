"""Tests of the embedded benchmark: what is listed, and how it is kept."""

from __future__ import annotations

import collections
import concurrent.futures
import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metabin_jax import errors
from metabin_jax.data import synthetic
from metabin_jax.data.synthetic import (
  dataset,
  listing,
  presets,
  style,
  workers,
)

TINY = presets.PRESETS["tiny"]
QUICK = presets.PRESETS["quick"]
# The least that has all domains and splits.
MICRO = dataclasses.replace(
  TINY, name="micro", source_ids=1, source_frames=1, target_ids=1
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  root = tmp_path_factory.mktemp("synthetic")
  return synthetic.ensure("tiny", root, workers=1, progress=False)


def read_manifest(manifest):
  with open(manifest, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def read_all(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in Path(folder).rglob("*")
    if path.is_file()
  }


def forbid_rendering(monkeypatch):
  def fail(*args):
    raise AssertionError("rendered although the data set was complete")

  monkeypatch.setattr(workers, "render_all", fail)


class TestManifest:
  def test_rows_agree_with_the_preset(self, tiny):
    rows = read_manifest(tiny)
    assert list(rows[0]) == ["path", "pid", "camid", "domain", "split"]
    per_source = TINY.source_ids * TINY.source_cameras * TINY.source_frames
    for name in style.SOURCES:
      own = [row for row in rows if row["domain"] == name]
      assert len(own) == per_source
      assert {row["split"] for row in own} == {"train"}
      assert len({row["pid"] for row in own}) == TINY.source_ids
    for name in style.TARGETS:
      own = [row for row in rows if row["domain"] == name]
      assert {row["split"] for row in own} == {"query", "gallery"}

  def test_quick_preset_has_the_stated_counts(self):
    shots = listing.list_shots(QUICK)
    splits = collections.Counter(shot.split for shot in shots)
    assert splits == {"train": 3840, "query": 360, "gallery": 960}
    assert len({shot.path for shot in shots}) == len(shots)

  def test_identities_are_disjoint_between_domains(self, tiny):
    domains = collections.defaultdict(set)
    for row in read_manifest(tiny):
      domains[row["pid"]].add(row["domain"])
    assert all(len(names) == 1 for names in domains.values())
    assert len(domains) == 9 * 4

  def test_each_query_can_be_found_in_another_camera(self, tiny):
    rows = read_manifest(tiny)
    gallery = [row for row in rows if row["split"] == "gallery"]
    queries = [row for row in rows if row["split"] == "query"]
    for query in queries:
      assert query["camid"] == "0"
      assert any(
        row["pid"] == query["pid"] and row["camid"] != query["camid"]
        for row in gallery
      )
    asked = {row["pid"] for row in queries}
    distractors = {row["pid"] for row in gallery} - asked
    assert len(distractors) == 4 * TINY.distractor_ids

  def test_names_are_in_the_manner_of_market(self, tiny):
    row = read_manifest(tiny)[0]
    assert row["path"] == "atrium/train/0001_c1s1_000001_00.jpg"
    assert (row["pid"], row["camid"]) == ("atrium_0001", "0")

  def test_record_says_what_it_is(self, tiny):
    record = json.loads((tiny.parent / "dataset.json").read_text("utf-8"))
    assert record["synthetic"] is True
    assert record["preset"]["seed"] == TINY.seed
    assert record["images"] == len(read_manifest(tiny))
    assert record["counts"]["atrium"]["train"] == 16
    assert len(record["sha256"]["snow/query"]) == 64


class TestCache:
  def test_workers_do_not_change_a_byte(self, tiny, tmp_path):
    other = synthetic.ensure("tiny", tmp_path, workers=2, progress=False)
    assert other.parent.name == tiny.parent.name
    assert read_all(other.parent) == read_all(tiny.parent)

  def test_second_call_renders_nothing(self, tiny, monkeypatch):
    forbid_rendering(monkeypatch)
    begin = time.perf_counter()
    again = synthetic.ensure("tiny", tiny.parent.parent)
    assert again == tiny
    assert time.perf_counter() - begin < 2

  @pytest.mark.parametrize(
    ("damage", "complaint"),
    [
      ("picture changed", "atrium/train were changed"),
      ("picture missing", "0001_c1s1_000001_00.jpg is missing"),
      ("manifest changed", "manifest.csv was changed"),
      ("record missing", "dataset.json is missing"),
      ("record broken", "record cannot be read"),
    ],
  )
  def test_damage_is_found_and_mended(
    self, tmp_path, caplog, damage, complaint
  ):
    manifest = dataset.ensure_preset(MICRO, tmp_path, progress=False)
    before = read_all(manifest.parent)
    picture = manifest.parent / "atrium/train/0001_c1s1_000001_00.jpg"
    if damage == "picture changed":
      data = bytearray(picture.read_bytes())
      data[-20] ^= 1
      picture.write_bytes(data)
    elif damage == "picture missing":
      picture.unlink()
    elif damage == "manifest changed":
      manifest.write_text(manifest.read_text().replace("train", "query", 1))
    elif damage == "record missing":
      (manifest.parent / "dataset.json").unlink()
    else:
      (manifest.parent / "dataset.json").write_text("{")
    assert dataset.ensure_preset(MICRO, tmp_path, progress=False) == manifest
    assert read_all(manifest.parent) == before
    assert len(caplog.records) == 1
    assert complaint in caplog.text
    assert os.listdir(tmp_path) == [manifest.parent.name]

  def test_leftover_of_a_killed_run_is_ignored(self, tmp_path):
    name = f"micro-{dataset.settings_hash(MICRO)[:12]}"
    leftover = tmp_path / f".{name}.123.abc"
    (leftover / "atrium").mkdir(parents=True)
    manifest = dataset.ensure_preset(MICRO, tmp_path, progress=False)
    assert dataset.find_fault(manifest.parent) is None
    # It may belong to a run that is still alive.
    assert leftover.exists()

  def test_failure_leaves_nothing_behind(self, tmp_path, monkeypatch):
    def fail(*args):
      raise RuntimeError("power cut")

    monkeypatch.setattr(workers, "render_chunk", fail)
    with pytest.raises(RuntimeError, match="power cut"):
      dataset.ensure_preset(MICRO, tmp_path, progress=False)
    assert os.listdir(tmp_path) == []

  def test_two_at_once_do_not_clash(self, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
      futures = [
        pool.submit(
          dataset.ensure_preset, MICRO, tmp_path, workers=1, progress=False
        )
        for _ in range(3)
      ]
      manifests = {future.result() for future in futures}
    assert len(manifests) == 1
    assert dataset.find_fault(manifests.pop().parent) is None
    assert len(os.listdir(tmp_path)) == 1

  def test_later_of_two_keeps_the_earlier_set(self, tiny, tmp_path):
    folder, late = tmp_path / "set", tmp_path / ".set.late"
    shutil.copytree(tiny.parent, folder)
    shutil.copytree(tiny.parent, late)
    (folder / "mark").touch()
    dataset._publish(late, folder)
    assert (folder / "mark").exists()

  def test_seed_has_its_own_folder(self):
    other = dataclasses.replace(TINY, seed=1)
    assert dataset.settings_hash(other) != dataset.settings_hash(TINY)

  def test_every_drawing_module_is_in_the_hash(self):
    folder = Path(dataset.__file__).parent
    plumbing = {"__init__", "contact_sheet", "dataset", "presets", "workers"}
    drawing = {p.name for p in folder.glob("*.py") if p.stem not in plumbing}
    known = (*dataset._SOURCES, *dataset._CAMERA_SOURCES)
    assert drawing == {n for n in known if "/" not in n}

  def test_unguarded_script_on_stdin_can_use_workers(self, tmp_path):
    code = (
      "import dataclasses\n"
      "from metabin_jax.data.synthetic import dataset, presets\n"
      "p = dataclasses.replace(presets.PRESETS['tiny'], source_ids=1)\n"
      f"dataset.ensure_preset(p, {str(tmp_path)!r}, workers=2)\n"
      "print('ran')\n"
    )
    done = subprocess.run(
      [sys.executable, "-"], input=code, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran\n"
    assert "100 %" in done.stderr

  def test_broken_pool_is_finished_alone(self, tmp_path, monkeypatch):
    def no_pool(*args, **kwargs):
      raise PermissionError("no semaphores here")

    monkeypatch.setattr(
      workers.concurrent.futures, "ProcessPoolExecutor", no_pool
    )
    manifest = dataset.ensure_preset(MICRO, tmp_path, workers=2, progress=False)
    assert dataset.find_fault(manifest.parent) is None


class TestMistakes:
  def test_unknown_preset(self, tmp_path):
    with pytest.raises(
      errors.UserError, match="'huge'; use one of cameras, large"
    ):
      synthetic.ensure("huge", tmp_path)

  def test_no_workers(self, tmp_path):
    with pytest.raises(errors.UserError, match="workers is 0"):
      synthetic.ensure("tiny", tmp_path, workers=0)

  def test_root_is_a_file(self, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match="METABIN_CACHE"):
      synthetic.ensure("tiny", tmp_path / "file")

  def test_cache_variable(self, monkeypatch, tmp_path):
    monkeypatch.setenv("METABIN_CACHE", str(tmp_path))
    assert dataset.default_root() == tmp_path / "synthetic"


def test_importing_is_light():
  code = (
    "import sys; import metabin_jax.data.synthetic;"
    "print([m for m in ('jax', 'tensorflow') if m in sys.modules])"
  )
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == "[]"
