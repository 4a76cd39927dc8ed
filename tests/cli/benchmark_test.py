"""The published protocol from the data sets' own layouts to one table."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.data import protocols, splits

TARGETS = ("viper", "prid", "grid", "ilids")
FLAGS = ("--allow-partial", "--i-have-a-licensed-copy")
SMALL = (
  "--config.data.height_px=32",
  "--config.data.width_px=16",
  "--config.data.pad_px=2",
  "--config.data.batch_size=20",
  "--config.data.instances=2",
  "--config.data.workers=2",
  "--config.train.steps=2",
  "--config.train.steps_per_epoch=2",
  "--config.meta.first_base_updates=1",
  "--config.eval.batch_size=16",
)
CONFIG = tiny_run.REPOSITORY / "configs" / "metabin_mobilenetv2.py"


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory):
  """A folder with the miniatures of all data sets of the benchmark."""
  folder = tmp_path_factory.mktemp("data")
  for name in protocols.PROTOCOLS["metabin"].sources + TARGETS:
    importlib.import_module(f"miniatures.{name}").build(folder)
  return folder


@pytest.fixture(name="place")
def place_fixture(data, monkeypatch, tmp_path):
  monkeypatch.setenv("METABIN_DATA", str(data))
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  return tmp_path


def train(place, *options):
  return main(
    ["train", f"--config={CONFIG}", f"--workdir={place}/run", *SMALL, *options]
  )


def check_scores(data, text):
  """Four targets of ten folds, and the mean over the targets."""
  assert [row["target"] for row in data["results"]] == [*TARGETS]
  for row in data["results"]:
    assert row["folds"] == 10
    # The folds differ; rank-1 itself may be 0 in all, in a network so small.
    assert 0 < row["mAP/std"] < row["rank-10"] <= 1
    # One match a query in each of the four.
    assert row["mAP"] == row["mINP"]
    assert row["num_valid"] == row["num_query"] > 0
  (average,) = data["average"]
  for key in ("rank-1", "mAP"):
    mean = np.mean([row[key] for row in data["results"]])
    assert average[key] == pytest.approx(mean, rel=1e-12)
    assert average[f"{key}/std"] > 0
  for name in TARGETS:
    found = data["data"][name]
    assert (found["protocol"], found["folds"]) == ("metabin", 10)
    assert f"{name}: protocol=metabin folds=10 sha256=" in text
    assert found["sha256"][:12] in text
    assert f"note: {name} is partial: " in text
  assert "note on training: cuhk02 is partial: " in text
  assert "note on training: DukeMTMC-reID was withdrawn" in text
  assert len(data["training"]["run"]) == 5


def test_a_small_network_trains_and_is_scored(place, capsys):
  status = train(
    place,
    *FLAGS,
    "--config.model.backbone=resnet18",
    "--config.model.width=0.125",
  )
  text = capsys.readouterr().out
  assert status == 0
  check_scores(json.loads((place / "run" / "result.json").read_text()), text)

  # The same targets by name, and another protocol's splits and evaluation.
  scores = place / "scores.json"
  for name in ("metabin", "dualnorm"):
    words = [str(place / "run"), f"--protocol={name}", f"--json={scores}"]
    assert main(["evaluate", *words, "--allow-partial"]) == 0
    text = capsys.readouterr().out
    data = json.loads(scores.read_text())
    if name == "metabin":
      check_scores(data, text)
      continue
    assert {row["ap"] for row in data["results"]} == {"trapezoid"}
    assert "euclidean, AP trapezoid, image and mirror image" in text
    assert {found["protocol"] for found in data["data"].values()} == {name}
    assert data["steps"] == {"run": 2}

  # What a flag says wins over what the protocol says.
  words = [str(place / "run"), "--protocol=dualnorm", "--ap=mar", "--no-flip"]
  assert main(["evaluate", *words, "--allow-partial"]) == 0
  text = capsys.readouterr().out
  assert "evaluation: protocol dualnorm, euclidean, AP mar\n" in text
  assert "warning:" not in text
  assert "mAP (mar)" in text


@pytest.mark.slow
def test_a_run_remembers_its_sources_when_they_are_gone(place, data, capsys):
  importlib.import_module("miniatures.cuhk01").build(place)
  sources = place / "sources"
  sources.mkdir()
  for name in ("cuhk02", "cuhk03"):
    (sources / name).symlink_to(data / name)
  specs = ",".join(
    f"'{name}:{sources}/{name}?use=all&partial=allow'"
    for name in ("cuhk02", "cuhk03")
  )
  assert (
    train(
      place,
      "--config.model.backbone=resnet18",
      "--config.model.width=0.125",
      f"--config.data.sources=({specs},)",
      "--config.data.targets=()",
      "--config.data.batch_size=8",
      "--config.meta.num_mtrain=1",
      "--config.train.steps=1",
    )
    == 0
  )
  for name in ("cuhk02", "cuhk03"):
    (sources / name).unlink()
  evaluate = ["evaluate", str(place / "run"), "--allow-partial"]
  capsys.readouterr()
  assert main([*evaluate, f"--target=cuhk01:{place}"]) == 2
  text = capsys.readouterr().err
  assert "'cuhk01' and the source cuhk02 that was trained on are known" in text
  scores = place / "scores.json"
  target = f"--target=viper:{data}"
  assert main([*evaluate, "--protocol=metabin"]) == 0
  text = capsys.readouterr().out
  assert "evaluation: protocol metabin, cosine" in text
  assert "but this run was trained on cuhk02, cuhk03\n" in text
  assert main([*evaluate, target, f"--json={scores}"]) == 0
  text = capsys.readouterr().out
  warning = "run: not checked for persons that were trained on: folder"
  assert f"warning: {warning}" in text
  assert "note on training: cuhk02 is partial" in text
  found = json.loads(scores.read_text())["warnings"]
  assert len(found) == 2
  assert all(line.startswith(warning) for line in found)


@pytest.mark.slow
def test_the_published_configuration(place, capsys):
  """MobileNetV2, but narrow and of few pixels."""
  assert train(place, *FLAGS, "--config.model.width=0.25") == 0
  text = capsys.readouterr().out
  check_scores(json.loads((place / "run" / "result.json").read_text()), text)


@pytest.mark.parametrize(
  ("flag", "messages"),
  [
    (
      "--allow-partial",
      ("DukeMTMC-reID was withdrawn", "--i-have-a-licensed-copy"),
    ),
    (
      "--i-have-a-licensed-copy",
      ("expected 6,308 images of 1,577 persons, found 32", "--allow-partial"),
    ),
  ],
)
def test_nothing_starts_without_the_users_word(place, capsys, flag, messages):
  assert train(place, flag) == 2
  text = capsys.readouterr().err
  for message in messages:
    assert message in text
  assert not (place / "run").exists()


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_every_protocol_opens_on_the_miniatures(place, data, name):
  importlib.import_module("miniatures.msmt17").build(place)
  from metabin_jax.cli import data_options
  from metabin_jax.data import checks, readers

  sources, targets = (
    [
      readers.open_dataset(spec)
      for spec in data_options.apply(
        (
          spec.replace(str(data), str(place)) if "msmt17" in spec else spec
          for spec in specs
        ),
        allow_partial=True,
        licensed_copy=True,
      )
    ]
    for specs in protocols.specs(name, str(data))
  )
  report = checks.check_sources(sources)
  assert report.num_images == sum(len(source.train) for source in sources)
  folds = checks.check_targets(sources, targets)
  assert all(fold.num_valid for fold in folds)
  digests = [splits.split_digest(target) for target in targets]
  assert len(set(digests)) == len(targets)
  assert {source.provenance.public for source in sources} == set(
    protocols.PROTOCOLS[name].sources
  )
