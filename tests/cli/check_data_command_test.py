"""`metabin check-data`: what it finds, how it ends, what it leaves alone."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import shutil

import known_sets
import pytest
from miniatures import pictures

from metabin_jax.cli import check_data
from metabin_jax.cli.main import main
from metabin_jax.data import readers
from metabin_jax.data.records import DataSet

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "check_data.md"


def write_place(root: pathlib.Path) -> pathlib.Path:
  """Ten persons to train on, four to test on; nothing is wrong."""
  for pid in range(14):
    for camera in (1, 2):
      part = "train" if pid < 10 else ("query", "gallery")[camera - 1]
      for index in range(2):
        name = f"{part}/p{pid}/x{index}_c{camera}.jpg"
        pictures.write(root / name, pid, camera, index)
  return root


@pytest.fixture
def place(tmp_path):
  return write_place(tmp_path / "shop")


@pytest.fixture
def check(capsys):
  """check(*words) -> (status, report, what else was said)."""

  def run(*words):
    capsys.readouterr()
    status = main(["check-data", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err

  return run


def state(folder):
  return {
    path: (
      path.stat().st_mtime_ns,
      path.read_bytes() if path.is_file() else b"",
    )
    for path in sorted(folder.rglob("*"))
  }


def test_good_data(check, place):
  status, out, said = check(place)
  assert status == 0
  assert "PROBLEMS" not in out
  assert (
    f"shop: read as folder:{place}; write another reader to change it" in out
  )
  assert out.rstrip().endswith("no problems, 2 notes")
  flat = " ".join(out.split())
  assert "a meta step needs at least 2" in flat
  assert "use a batch size of at most 40. 40 fits." in flat
  assert "opening 56 image files" in said
  assert "step 56/56" in said


def test_a_description_is_no_guess(check, place):
  status, out, _ = check(f"folder:{place}?name=mine")
  assert status == 0
  assert f"mine: read as folder:{place}?name=mine\n" in out


def test_a_manifest(check, tmp_path):
  file = tmp_path / "all.csv"
  lines = ["path,pid,camid,domain,split"]
  for pid in range(8):
    for camera in (1, 2, 3):
      pictures.write(tmp_path / f"{pid}_{camera}.png", pid, camera, 0)
      lines.append(f"{pid}_{camera}.png,{pid},{camera},d{pid % 2},train")
  file.write_text("\n".join(lines) + "\n")
  (tmp_path / "unused.png").write_bytes(b"beside a manifest there is anything")
  status, out, _ = check(file)
  assert status == 0
  assert f"all: read as manifest:{file}; write" in out
  assert "are in no part" not in out


def test_broken_files_of_each_kind_are_named(check, place):
  broken = {
    "text": place / "train/p0/x0_c1.jpg",
    "empty": place / "train/p1/x0_c1.jpg",
    "cut": place / "query/p10/x0_c1.jpg",
    "png": place / "gallery/p11/x0_c2.png",
  }
  whole = broken["cut"].read_bytes()
  broken["text"].write_bytes(b"hello")
  broken["empty"].write_bytes(b"")
  broken["cut"].write_bytes(whole[: len(whole) // 2])
  broken["png"].write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
  status, out, _ = check(place)
  assert status == 1
  assert "4 of 57 image files cannot be read" in " ".join(out.split())
  for file in broken.values():
    assert f"    {file}: cannot be read (" in out
  status, out, said = check(place, "--quick")
  assert status == 0
  assert "cannot be read" not in out
  assert said == ""


def test_duplicates(check, place):
  shutil.copy(place / "train/p0/x0_c1.jpg", place / "train/p1/copy_c1.jpg")
  shutil.copy(place / "query/p10/x0_c1.jpg", place / "train/p2/copy_c1.jpg")
  shutil.copy(place / "query/p11/x0_c1.jpg", place / "gallery/p11/copy_c2.jpg")
  shutil.copy(place / "train/p3/x0_c1.jpg", place / "train/p3/copy_c1.jpg")
  status, out, _ = check(place)
  flat = " ".join(out.split())
  assert status == 1
  assert "pictures that are labelled as several persons: 2" in flat
  assert "pictures both in the train part and in the test: 1" in flat
  assert "in its gallery, count as its right match: 1" in flat
  assert "several files of one person in one part: 1" in flat
  assert f"{place}/train/p1/copy_c1.jpg (pid shop/p1)" in out
  assert "3 problems, 3 notes" in flat


def test_persons_in_train_and_test(check, place):
  shutil.move(place / "train/p0", place / "gallery/p0")
  pictures.write(place / "train/p0/y_c1.jpg", 0, 1, 7)
  status, out, _ = check(place, "--quick")
  assert status == 1
  assert "1 of 10 persons of the train part are in its test" in out
  assert "\n    shop/p0\n" in out


def test_several_places(check, place, tmp_path):
  other = write_place(tmp_path / "office")
  for path in other.rglob("*.jpg"):
    path.write_bytes(path.read_bytes() + b"another file")
  status, out, _ = check(place, other)
  assert status == 0
  assert "AS SOURCES of one run: shop, office" in out
  assert "meta.num_mtrain is 3 unless it is set" in " ".join(out.split())
  shutil.copy(place / "train/p0/x0_c1.jpg", other / "train/p0/x0_c1.jpg")
  status, out, _ = check(place, other)
  assert status == 1
  assert "pictures in more than one of the data sets: 1" in out
  (other / "query/p10/x0_c1.jpg").unlink()
  (other / "query/p10/x0_c1.jpg").symlink_to(place / "train/p0/x0_c1.jpg")
  status, out, _ = check(place, other, "--quick")
  assert status == 1
  assert (
    "trained on 'shop', a run ends with: target 'office' shares 1 image files"
    in " ".join(out.split())
  )
  status, out, _ = check(place, place, "--quick")
  assert status == 1
  assert "2 data sets are named 'shop'" in out


def test_cameras(check, place):
  for path in place.rglob("*_c2.jpg"):
    path.rename(path.with_name(path.name.replace("_c2", "_c1")))
  status, out, _ = check(place)
  assert status == 1
  flat = " ".join(out.split())
  assert "none of the 8 queries has a match in the gallery" in flat
  assert "--cross-camera=off" in flat
  status, out, _ = check(place, "--cross-camera=off")
  assert status == 0
  assert "8 queries, 8 of them with a match" in out


def test_the_size_of_the_network(check, place):
  _, out, _ = check(place)
  assert "enlarged to 256x128 (height x width): 56" in out
  _, out, _ = check(place, "--height=24", "--width=12")
  assert "enlarged to 24x12 (height x width): 0" in out


def test_json_has_what_is_printed(check, place, tmp_path):
  (place / "train/p0/x0_c1.jpg").write_bytes(b"hello")
  file = tmp_path / "new" / "report.json"
  status, out, _ = check(place, f"--json={file}")
  assert status == 1
  data = json.loads(file.read_text())
  assert [p["kind"] for p in data["problems"]] == ["unreadable"]
  assert data["problems"][0]["text"] in " ".join(out.split())
  (shop,) = data["datasets"]
  assert shop["spec"] == f"folder:{place}"
  assert shop["guessed"] is True
  train = shop["parts"][0]
  assert (train["images"], train["pixels"]["unreadable"]) == (40, 1)
  assert data["run"]["sources"]["persons"] == 10
  assert [p.name for p in file.parent.iterdir()] == ["report.json"]


def test_nothing_is_written_into_the_data(check, place):
  (place / "train/p0/x0_c1.jpg").write_bytes(b"hello")
  before = state(place)
  check(place)
  check(place, "--quick")
  assert state(place) == before


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ([], "PLACE"),
    (["/no/such/folder"], "folder /no/such/folder does not exist"),
    (["folder:/no/such/folder"], "folder /no/such/folder does not exist"),
    (["folders:/tmp"], "unknown reader 'folders'"),
    (["market:{place}"], "images"),
    (["{place}", "--fast"], "--fast"),
    (["{place}", "--height=0"], "--height: 0 is not a number of pixels"),
    (["{place}", "--cross-camera=maybe"], "maybe"),
    (["{place}", "--json={place}"], "is a folder; name a file"),
  ],
)
def test_mistakes(check, place, words, message):
  status, out, said = check(*(word.format(place=place) for word in words))
  assert status == 2
  assert out == ""
  assert said.splitlines()[-1].startswith("metabin check-data: ")
  assert message in said


def test_help(check):
  status, out, _ = check("--help")
  assert status == 0
  assert out.startswith("usage: metabin check-data")


def test_a_public_set(check, tmp_path, monkeypatch):
  known_sets.only(monkeypatch, "market1501")
  known_sets.build(tmp_path, "market1501")
  place = tmp_path / "Market-1501-v15.09.15"
  before = state(place)
  for flags, option in (((), ""), (("--allow-partial",), "?partial=allow")):
    status, out, _ = check(place, *flags)
    assert status == 1
    assert f"market1501: read as market1501:{place}{option}; write" in out
    words = " ".join(out.split())
    assert "market1501 is partial: train: expected 12,936" in words
    assert "a run refuses it without --allow-partial" in words
  known_sets.complete(monkeypatch, tmp_path, "market1501")
  status, out, _ = check(place)
  assert status == 0
  assert "public data set market1501" in out
  assert "protocol standard, 1 fold" in out
  assert "image files below" in out  # junk
  assert state(place) == before


def test_a_withdrawn_set(check, tmp_path, monkeypatch):
  known_sets.only(monkeypatch, "dukemtmc")
  known_sets.build(tmp_path, "dukemtmc")
  known_sets.complete(monkeypatch, tmp_path, "dukemtmc")
  status, _, said = check(tmp_path)
  assert status == 2
  assert "withdrawn" in said
  status, out, _ = check(tmp_path, "--i-have-a-licensed-copy")
  assert status == 0
  assert "taken down on 25 April 2019" in " ".join(out.split())


def test_a_folder_that_happens_to_be_named_like_a_preset(tmp_path, monkeypatch):
  (tmp_path / "tiny").mkdir()
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(readers, "open_dataset", lambda spec: DataSet("tiny"))
  allowed = {"allow_partial": False, "licensed_copy": False}
  assert check_data._open("synthetic:tiny", allowed).folder == ""
  assert check_data._open("folder:tiny", allowed).folder == f"{tmp_path}/tiny"


def test_the_commands_of_the_document(capsys, tmp_path, monkeypatch):
  known_sets.only(monkeypatch, "market1501")
  for name in ("shop", "station"):
    write_place(tmp_path / "photos" / name)
  for pid, camera in ((1, 1), (1, 2), (2, 1), (2, 2)):
    name = f"photos/gate/000{pid}_0{camera}_1.png"
    pictures.write(tmp_path / name, pid, camera, 0)
  monkeypatch.chdir(tmp_path)
  text = DOCUMENT.read_text(encoding="utf-8")
  commands = re.findall(r"^```sh\n(.*?)\n```$", text, re.M | re.S)
  assert len(commands) == 8
  # Both places are the same persons; of public sets nothing is there.
  statuses = [main(shlex.split(command)[1:]) for command in commands]
  assert statuses == [1, 0, 0, 0, 0, 0, 1, 0]
  assert "Traceback" not in capsys.readouterr().err
  flags = set(re.findall(r"`(--[a-z-]+)", text))
  for command in ("check-data", "datasets"):
    main([command, "--help"])
  said = capsys.readouterr().out
  assert all(flag in said for flag in flags)
