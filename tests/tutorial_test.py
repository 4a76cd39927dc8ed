"""The commands of docs/tutorial.md, one after the other, and what they leave.

By default in a small form; the slow test runs them as they are printed. The
photographs are real ones, if they lie beside the repository, else rendered.
"""

from __future__ import annotations

import csv
import json
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tiny_run
from PIL import Image

from metabin_jax.cli import main as cli
from metabin_jax.evaluation import embedding_file
from metabin_jax.runtime.extractor import Extractor

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

ROOT = tiny_run.REPOSITORY
PHOTOS = ROOT.parent / "shared" / "data" / "pku_reid" / "images"
# In place of what the tutorial prints.
SMALL = {
  "configs/quickstart.py:metabin": "configs/quickstart.py:short",
  "--config.train.steps=600": "--config.train.steps=2",
  "synthetic:quick?": "synthetic:tiny?",
  "0.01": "0.1",  # so few pairs show no smaller rate
}


def commands() -> list[list[str]]:
  text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
  blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
  return [shlex.split(line) for block in blocks for line in block.splitlines()]


def write_manifest(path: pathlib.Path, every: int) -> None:
  """Real photographs: every so many persons, both cameras."""
  lines = ["path,pid,camid"]
  for photo in sorted(PHOTOS.glob("*.png")):
    pid, camid, _ = photo.stem.split("_")
    if int(pid) % every == 0:
      lines.append(f"{photo},{pid},{int(camid)}")
  path.write_text("\n".join(lines) + "\n")


def run(words: list[str]) -> str:
  """Runs a command; returns what it printed, if in a process of its own."""
  program, *rest = words
  if program == "metabin":
    assert cli.main(rest) == 0, words
    return ""
  assert program == "python"
  done = subprocess.run(
    [sys.executable, *rest],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.parametrize(
  "small", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_tutorial(small, tmp_path, monkeypatch, capsys):
  (tmp_path / "configs").symlink_to(ROOT / "configs")
  (tmp_path / "docs").symlink_to(ROOT / "docs")
  monkeypatch.chdir(tmp_path)
  random = np.random.default_rng(0)
  pictures = random.integers(0, 256, (2, 90, 40, 3), np.uint8)
  for name, pixels in zip("ab", pictures, strict=True):
    Image.fromarray(pixels).save(f"{name}.png")
  if PHOTOS.is_dir():
    write_manifest(tmp_path / "photos.csv", 4 if small else 1)
  printed = ""
  for words in commands():
    if small:
      for long, short in SMALL.items():
        words = [word.replace(long, short) for word in words]
    if PHOTOS.is_dir() and "extract" in words and "--out=dusk.npz" in words:
      words[3] = "photos.csv"
    printed = run(words)
  said = capsys.readouterr().out

  run_folder = tmp_path / "runs" / "tutorial"
  found = embedding_file.load(tmp_path / "dusk.npz")
  assert len(found.names) >= 10
  with open("hits.csv", encoding="utf-8", newline="") as file:
    hits = [*csv.DictReader(file)]
  assert len(hits) == 5 * len(found.names)
  assert [hit["query"] for hit in hits[::5]] == [*found.names]
  for hit in hits[::5]:
    # Itself, or an image that rounding to 16 bits makes equal to it.
    assert float(hit["cosine"]) == pytest.approx(1, abs=2e-3)
  (threshold,) = json.loads(pathlib.Path("threshold.json").read_text())[
    "thresholds"
  ]
  assert -1 <= threshold["threshold"] <= 1
  assert "data:image/jpeg" in pathlib.Path("report.html").read_text("utf-8")
  card = json.loads(pathlib.Path("tutorial.stablehlo.json").read_text())
  assert card["parity"]["images"] >= 100
  assert card["parity"]["relative"] <= 1e-4
  assert card["model"]["sha256"] == found.card["model"]["sha256"]
  assert "largest difference from the package on" in said
  # The exported model agrees with the package, through both ways of reading.
  one, other = Extractor.from_checkpoint(run_folder)(["a.png", "b.png"])
  cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
  assert str(len(one)) in printed
  shown = float(re.findall(r"-?\d+\.\d+", printed)[-1])
  assert shown == pytest.approx(cosine, abs=1e-4)
