from __future__ import annotations

import hashlib
import pathlib
import threading
import time

import pytest

from metabin_jax.data import images
from metabin_jax.data.doctor import files
from metabin_jax.data.records import DataSet, Fold, Record


@pytest.mark.parametrize(
  ("name", "form"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.bmp", "BMP")]
)
def test_a_good_file(write_image, name, form):
  path = write_image(name, height=24, width=12)
  digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
  assert files.examine(path) == files.FileFacts(digest, 12, 24, form, "")


def test_a_lying_photograph_is_measured_upright(tmp_path):
  from PIL import Image

  path = tmp_path / "lying.jpg"
  exif = Image.Exif()
  exif[0x0112] = 6
  Image.new("RGB", (40, 20)).save(path, exif=exif)
  facts = files.examine(str(path))
  assert (facts.width, facts.height) == (20, 40)
  assert images.load_image(str(path), 40, 20).shape == (40, 20, 3)


def break_file(path: pathlib.Path, how: str) -> None:
  whole = path.read_bytes()
  if how == "truncated":
    path.write_bytes(whole[: len(whole) // 2])
  elif how == "text":
    path.write_bytes(b"hello, I am no picture")
  elif how == "empty":
    path.write_bytes(b"")
  elif how == "missing":
    path.unlink()
  elif how == "folder":
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
  ("how", "reason"),
  [
    ("truncated", "runcated"),
    ("text", "it is not an image, it begins with b'hello, I am '"),
    ("empty", "it is empty"),
    ("missing", "does not exist"),
    ("folder", "directory"),
  ],
)
def test_a_bad_file_has_the_fault_that_a_run_would_name(
  write_image, how, reason
):
  path = write_image("a.jpg", height=64, width=32)
  break_file(pathlib.Path(path), how)
  facts = files.examine(path)
  with pytest.raises(files.UserError) as error:
    images.load_image(path, 256, 128)
  assert facts.fault == str(error.value)
  assert path in facts.fault
  assert reason in facts.fault
  assert (facts.width, facts.height, facts.format) == (0, 0, "")
  assert bool(facts.sha256) == (how not in ("missing", "folder"))


def test_an_image_that_claims_too_much(write_image, monkeypatch):
  path = write_image("a.png", height=24, width=12)
  monkeypatch.setattr(images, "MAX_PIXELS", 100)
  assert "megapixels" in files.examine(path).fault


@pytest.mark.parametrize("workers", [1, 3, None])
def test_all_files_once_in_order(write_image, monkeypatch, workers):
  monkeypatch.setattr(files, "_FILES_A_TASK", 2)
  paths = [write_image(f"{i}.png", seed=i) for i in range(7)]
  opened = []
  examine = files.examine
  monkeypatch.setattr(
    files, "examine", lambda path: opened.append(path) or examine(path)
  )
  done = []
  facts = files.examine_all(
    [*reversed(paths), *paths], workers=workers, report=done.append
  )
  assert list(facts) == sorted(paths)
  assert sorted(opened) == sorted(paths)
  assert done == list(range(1, 8))
  assert facts == {path: examine(path) for path in paths}
  assert len({fact.sha256 for fact in facts.values()}) == 7


def test_no_file():
  assert files.examine_all([]) == {}


def test_unreadable_files_are_named_wherever_they_are_used(write_image):
  paths = [write_image(f"{i}.jpg", seed=i) for i in range(4)]
  for path in paths[1:]:
    break_file(pathlib.Path(path), "text")
  records = [Record(path, "d/1", 1, "d") for path in paths]
  fold = Fold("test", (records[1], records[2]), (records[3], records[2]))
  data = DataSet("d", (records[0],), (fold,))
  (finding,) = files.find_unreadable(data, files.examine_all(paths))
  assert (finding.severity, finding.kind, finding.dataset) == (
    "problem",
    "unreadable",
    "d",
  )
  assert finding.text.startswith("3 of 4 image files cannot be read")
  assert [case[0] for case in finding.cases] == paths[1:]
  assert all(
    case[1].startswith("cannot be read (it is not an image")
    for case in finding.cases
  )
  good = DataSet("d", (records[0],))
  assert files.find_unreadable(good, files.examine_all(paths[:1])) == []


def test_stopping_opens_no_further_files_and_leaves_no_thread(monkeypatch):
  monkeypatch.setattr(files, "_FILES_A_TASK", 1)
  opened = []

  def examine(path):
    time.sleep(0.005)
    opened.append(path)

  def stop(done):
    raise KeyboardInterrupt

  monkeypatch.setattr(files, "examine", examine)
  with pytest.raises(KeyboardInterrupt):
    files.examine_all(map(str, range(200)), workers=2, report=stop)
  assert 0 < len(opened) < 200
  names = [thread.name for thread in threading.enumerate()]
  assert not [name for name in names if name.startswith("metabin-files")]
