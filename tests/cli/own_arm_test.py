"""A norm arm of the user's own, by the files that WORKSPACE.md prints."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests import tiny_run

MAP = tiny_run.REPOSITORY / "WORKSPACE.md"
SMALL = (
  "--config.model.width=0.125",
  "--config.data.height_px=32",
  "--config.data.width_px=16",
  "--config.data.batch_size=20",
  "--config.data.instances=2",
  "--config.train.steps=2",
)
SOURCES = "('synthetic:tiny?domains=atrium,campus,carpark,plaza,station',)"
TARGETS = "('synthetic:tiny?domains=snow&name=snow',)"


@pytest.fixture(name="folder")
def folder_fixture(tmp_path) -> pathlib.Path:
  """The two files as the document has them."""
  text = MAP.read_text(encoding="utf-8").split("**A norm arm of your own**")[1]
  norm, arm = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
  (tmp_path / "my_norm.py").write_text(norm)
  (tmp_path / "my_arm.py").write_text(arm)
  return tmp_path


def metabin(folder, *words, status=0) -> str:
  """Runs a command in the user's folder; returns what it wrote."""
  path = os.pathsep.join(
    filter(None, [str(tiny_run.REPOSITORY), os.environ.get("PYTHONPATH")])
  )
  done = subprocess.run(
    [sys.executable, "-m", "metabin_jax", *words],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": path},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == status, done.stderr
  return done.stdout + done.stderr


def train(folder, *options, status=0) -> str:
  return metabin(
    folder,
    "train",
    "--config=my_arm.py",
    "--workdir=runs/layer",
    *SMALL,
    f"--config.data.sources={SOURCES}",
    f"--config.data.targets={TARGETS}",
    *options,
    status=status,
  )


def test_it_trains_and_is_scored_again(folder):
  train(folder)
  run = json.loads((folder / "runs/layer/run.json").read_text())
  assert run["config"]["model"]["norm"] == "layer"
  assert list(run["plugins"]) == ["my_norm.py"]
  first = json.loads((folder / "runs/layer/result.json").read_text())
  said = metabin(folder, "evaluate", "runs/layer", "--json=again.json")
  assert "snow" in said
  again = json.loads((folder / "again.json").read_text())
  assert first["results"][0]["rank-1"] == again["results"][0]["rank-1"]
  # Its own parameters are there, and nothing of another arm's.
  norm = tiny_run.leaves(folder / "runs/layer")
  assert "params/backbone/bn1/ln_scale" in norm
  assert "params/backbone/bn1/bn_scale" not in norm
  # A run is not continued with another layer under the same name.
  file = folder / "my_norm.py"
  file.write_text(file.read_text().replace("1e-5", "1e-3"))
  said = train(folder, "--config.train.steps=3", status=2)
  assert "model.plugins" in said


@pytest.mark.slow
def test_it_stands_in_a_table_beside_the_papers_arms(folder):
  settings = (
    *(word.removeprefix("--config.") for word in SMALL),
    f"data.sources={SOURCES}",
    f"data.targets={TARGETS}",
  )
  said = metabin(
    folder,
    *("repro", "table4", "--settings=dg", "--arms=bn", "--jobs=2"),
    *("--add-arm=my_arm.py", "--json=table.json"),
    *(f"--set={word}" for word in settings),
  )
  assert "average rank-1" in said
  rows = json.loads((folder / "table.json").read_text())["rows"]
  assert [row["arm"] for row in rows] == ["bn", "my_arm"]
  for row in rows:
    assert row["seeds"] == [2020]
    assert row["ours"]["average"]["rank-1"]["values"][0] >= 0
