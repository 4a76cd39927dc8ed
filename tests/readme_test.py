"""The examples of README.md and docs/own_data.md run as they are printed."""

from __future__ import annotations

import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from metabin_jax.cli import main as cli
from metabin_jax.data import batches, checks, images, readers
from metabin_jax.errors import UserError
from metabin_jax.runtime import loop, resolve, scoring

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/own_data.md")
NUM_PERSONS = 8
# What makes a documented training run a matter of seconds.
SMALL = (
  "--config.model.backbone=resnet18",
  "--config.model.width=0.125",
  "--config.data.height_px=32",
  "--config.data.width_px=16",
  "--config.data.pad_px=2",
  "--config.data.batch_size=8",
  "--config.data.instances=2",
  "--config.meta.first_base_updates=1",
  "--config.train.steps=1",
  "--config.eval.batch_size=8",
)
SYNTHETIC = (
  "--config.data.sources=('synthetic:tiny?domains=atrium,campus',)",
  "--config.data.targets=('synthetic:tiny?domains=dusk',)",
  "--config.meta.num_mtrain=1",
)


def blocks(document: str, language: str) -> list[str]:
  text = (ROOT / document).read_text(encoding="utf-8")
  return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


COMMANDS = {
  document: [
    shlex.split(line)
    for block in blocks(document, "sh")
    for line in block.splitlines()
  ]
  for document in DOCUMENTS
}


def write_picture(path: pathlib.Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  seed = sum(map(ord, str(path.name)))
  pixels = np.random.default_rng(seed).integers(0, 256, (24, 12, 3), np.uint8)
  Image.fromarray(pixels).save(path)


def write_photos(root: pathlib.Path) -> None:
  """The folders that the two documents talk about."""
  lines = ["path,pid,camid,domain,split"]
  for person in range(NUM_PERSONS // 2):
    for camera in (1, 2):
      for place in ("shop", "station"):
        write_picture(root / place / f"p{person}" / f"x_c{camera}.jpg")
      part = ("query", "gallery")[camera - 1]
      write_picture(root / "office" / part / f"p{person}" / f"x_c{camera}.jpg")
      write_picture(root / "gate" / f"00{person + 1}_0{camera}_1.png")
      for place, split in (
        ("north", "train"),
        ("south", "train"),
        ("office", part),
      ):
        name = f"{place}/{person}_{camera}.jpg"
        write_picture(root / "csv" / name)
        lines.append(f"csv/{name},{place}{person},{camera},{place},{split}")
  (root / "all.csv").write_text("\n".join(lines) + "\n")
  for person in range(NUM_PERSONS):
    for camera in (1, 2):
      name = f"{person + 1:04d}_c{camera}s1_000.jpg"
      write_picture(root / "mall" / "bounding_box_train" / name)
      test = f"{person + 51:04d}_c{camera}s1_000.jpg"
      part = ("query", "bounding_box_test")[camera - 1]
      write_picture(root / "mall" / part / test)


@pytest.fixture
def home(tmp_path, monkeypatch):
  """A folder like the repository's, with photographs."""
  write_photos(tmp_path / "photos")
  (tmp_path / "configs").symlink_to(ROOT / "configs")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  return tmp_path


def words_of(command: list[str]) -> list[str]:
  """The documented words, then what makes the run small."""
  name, *words = command
  assert name == "metabin"
  if words[0] != "train":
    return words
  synthetic = "--config=configs/quickstart.py" in words
  return [*words, *SMALL, *(SYNTHETIC if synthetic else ())]


def check_data_finds_copies(command: list[str], capsys) -> bool:
  """Pretended pictures of one name are the same in all places."""
  status = cli.main(words_of(command))
  found = capsys.readouterr().out
  return status == 1 and "pictures in more than one of the data sets" in found


def test_there_are_examples():
  assert all(len(found) >= 4 for found in COMMANDS.values())


def test_python_example_runs(home, capsys):
  (code,) = blocks("README.md", "python")
  exec(compile(code, "README.md", "exec"), {})
  step, loss = capsys.readouterr().out.split()
  assert step == "1"
  assert np.isfinite(float(loss))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_reach_their_work(document, home, capsys, monkeypatch):
  """All flags, configurations and data are good; no training."""

  def stop(*unused, **unused_too):
    raise UserError("reached its work")

  def load_run(folder, *unused, **unused_too):
    words = "--config.data.targets=('folder:photos/office',)"
    assert any(
      f"--workdir={folder}" in command for command in COMMANDS[document]
    ), f"no example trains {folder}"
    config = resolve.from_dict({"data": {"targets": [words.split("'")[1]]}})
    return scoring.LoadedRun(1, resolve.resolve(config), None, {}, [], {})

  monkeypatch.setattr(loop, "train", stop)
  monkeypatch.setattr(scoring, "load_run", load_run)
  monkeypatch.setattr(scoring, "score", stop)
  for command in COMMANDS[document]:
    if command[1] == "check-data":
      assert check_data_finds_copies(command, capsys)
      continue
    assert cli.main(words_of(command)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("reached its work"), (command, error)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_do_their_work(document, home, capsys):
  for command in COMMANDS[document]:
    if command[1] == "check-data":
      assert check_data_finds_copies(command, capsys)
      continue
    assert cli.main(words_of(command)) == 0, (command, capsys.readouterr())
    output = capsys.readouterr()
    if command[1] == "evaluate":
      assert "mAP" in output.out


def mistakes(root: pathlib.Path):
  """What provokes each message that docs/own_data.md explains."""
  photos = root / "photos"
  (photos / "loose").mkdir()
  write_picture(photos / "loose" / "holiday.jpg")
  (photos / "bad.csv").write_text("file,person\n")
  rows = "path,pid,camid,domain,split\ncsv/north/0_1.jpg,a,left,,train\n"
  (photos / "camera.csv").write_text(rows)
  write_picture(photos / "nameless" / "p0" / "x.jpg")
  write_picture(photos / "same" / "query" / "p0" / "x_c1.jpg")
  write_picture(photos / "same" / "gallery" / "p0" / "y_c1.jpg")
  (photos / "broken.jpg").write_bytes(b"not a picture")

  def open_(spec):
    return lambda: readers.open_dataset(spec)

  def sources(*specs):
    return [readers.open_dataset(spec) for spec in specs]

  def plan(batch_size):
    places = sources("folder:photos/shop", "folder:photos/station")
    records = [record for place in places for record in place.train]
    batches.make_batch_plan(
      records, batch_size=batch_size, instances=2, seed=0, num_mtrain=1
    )

  return {
    "does not say how to read it": open_("photos/shop"),
    "does not exist (the nearest folder that does is": open_("folder:x/y"),
    "but no folder per person": open_("folder:photos/loose"),
    "are not named <pid>_c<cam>": open_("market:photos/loose"),
    "lacks the columns": open_("manifest:photos/bad.csv"),
    "is not a camera number": open_("manifest:photos/camera.csv"),
    "a meta step needs at least 2 to split": lambda: checks.check_sources(
      sources("folder:photos/shop")
    ),
    "domain=camera needs camera numbers": open_(
      "folder:photos/nameless?domain=camera"
    ),
    "does not divide into": lambda: plan(10),
    "queries has a match in the gallery": lambda: checks.check_targets(
      [], sources("folder:photos/same")
    ),
    "with the sources": lambda: checks.check_targets(
      sources("market:photos/gate"),
      sources("market:photos/gate?query_cameras=1&gallery_cameras=2"),
    ),
    "cannot be read": lambda: images.load_image("photos/broken.jpg", 8, 8),
  }


def test_messages_are_those_of_the_program(home):
  text = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
  table = text.partition("| the line contains |")[2]
  explained = re.findall(r"^\| `([^`]+)` \|", table, re.M)
  provoked = mistakes(home)
  assert set(explained) == set(provoked)
  for message, provoke in provoked.items():
    with pytest.raises(UserError, match=re.escape(message)):
      provoke()
